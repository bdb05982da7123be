#!/usr/bin/env python3
"""Makes tests/fixtures/training: what PyTorch and transformers make of a training's steps.

adamw: steps of torch.optim.AdamW with torch.nn.utils.clip_grad_norm_, on random gradients. Per case: `lr` f64 [steps], `gradient` f32 [steps, n], `init` f32 [n]; by PyTorch `norm` f64 [steps] and the `values`, `m` and `v`
after the last step. PyTorch fuses some products and sums, so its last bits depend on the machine: `exact/values`, `exact/m` and
`exact/v` are the same order in numpy's float32, where each operation rounds alone. The clip's factor there is of the float64 norm.
Gradients span twenty orders of magnitude, and one element's is always 0.

schedule: `<kind>/<warmup>/<total>` f64 [total + 2], the factors of transformers' schedules, beyond their end too. Their warm-up is
not ours, so only what follows it is compared.

    python3 -m venv venv && venv/bin/pip install torch==2.13 transformers==5.23 numpy
    venv/bin/python tests/reference/make_adamw.py tests/fixtures/training
"""
import json
import math
import sys

import numpy as np
import torch
import transformers

N, STEPS = 43, 12
CASES = {
    "usual": dict(betas=(0.9, 0.999), eps=1e-8, weight_decay=0.01, clip=1.0, lr=1e-3),
    "no_decay": dict(betas=(0.9, 0.999), eps=1e-8, weight_decay=0.0, clip=0.0, lr=0.05),
    "other": dict(betas=(0.8, 0.95), eps=1e-5, weight_decay=0.3, clip=0.2, lr=0.02),
}
f32 = np.float32


def with_torch(case, init, gradients, rates):
    """What PyTorch makes of it, and the norms before clipping."""
    value = torch.nn.Parameter(torch.from_numpy(init.copy()))
    optimizer = torch.optim.AdamW([value], lr=1.0, betas=case["betas"], eps=case["eps"], weight_decay=case["weight_decay"],
                                  foreach=False, fused=False)
    norms = []
    for gradient, rate in zip(gradients, rates):
        value.grad = torch.from_numpy(gradient.copy())
        norms.append(float(torch.linalg.vector_norm(value.grad.double())))
        if case["clip"] > 0:
            torch.nn.utils.clip_grad_norm_([value], case["clip"])
        optimizer.param_groups[0]["lr"] = float(rate)
        optimizer.step()
    state = optimizer.state[value]
    return value.detach().numpy(), state["exp_avg"].numpy(), state["exp_avg_sq"].numpy(), np.array(norms)


def with_numpy(case, init, gradients, rates, norms):
    """The formulas, each operation rounded to float32."""
    p, m, v = init.copy(), np.zeros(N, f32), np.zeros(N, f32)
    beta1, beta2 = case["betas"]
    for t, (gradient, rate, norm) in enumerate(zip(gradients, rates, norms), 1):
        g = gradient
        if case["clip"] > 0:
            g = g * f32(min(1.0, case["clip"] / (norm + 1e-6)))
        p = p * f32(1 - rate * case["weight_decay"])
        m = m + f32(1 - beta1) * (g - m)
        v = v * f32(beta2) + f32(1 - beta2) * g * g
        divisor = np.sqrt(v) / f32(math.sqrt(1 - beta2**t)) + f32(case["eps"])
        p = p + f32(-(rate / (1 - beta1**t))) * m / divisor
    return p, m, v


def optimizer_arrays():
    """Every case's arrays by name."""
    arrays = {}
    for index, (name, case) in enumerate(CASES.items()):
        random = np.random.default_rng(index)
        init = random.standard_normal(N).astype(f32)
        scale = 10.0 ** random.uniform(-18, 2, N)
        gradients = (random.standard_normal((STEPS, N)) * scale).astype(f32)
        gradients[:, 5] = 0
        rates = case["lr"] * np.minimum(1, (np.arange(STEPS) + 1) / 4)
        values, m, v, norms = with_torch(case, init, gradients, rates)
        exact = with_numpy(case, init, gradients, rates, norms)
        own = {"init": init, "gradient": gradients, "lr": rates, "norm": norms, "values": values, "m": m, "v": v,
               **dict(zip(("exact/values", "exact/m", "exact/v"), exact))}
        arrays.update({f"{name}/{key}": array for key, array in own.items()})
        print(name, *(float(np.max(np.abs(a - b))) for a, b in zip(exact, (values, m, v))))
    return arrays


def schedule_arrays():
    """Factors of transformers' schedules by step."""
    kinds = {"constant": lambda o, n, t: transformers.get_constant_schedule_with_warmup(o, n),
             "linear": transformers.get_linear_schedule_with_warmup, "cosine": transformers.get_cosine_schedule_with_warmup}
    arrays = {}
    for kind, make in kinds.items():
        for warmup, total in ((0, 1), (0, 7), (4, 24), (10, 100), (5, 5), (9, 4)):
            optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=1.0)
            factor = make(optimizer, warmup, total).lr_lambdas[0]
            arrays[f"{kind}/{warmup}/{total}"] = np.array([factor(t) for t in range(total + 2)], np.float64)
    return arrays


def write(folder, name, arrays, meta):
    tensors, data = {}, b""
    for key, array in arrays.items():
        assert array.dtype in (np.float32, np.float64)
        data += b"\0" * (-len(data) % 64)
        tensors[key] = {"dtype": "f32" if array.dtype == f32 else "f64", "shape": list(array.shape), "offset": len(data),
                        "nbytes": array.nbytes}
        data += array.tobytes()
    with open(f"{folder}/{name}.bin", "wb") as file:
        file.write(data)
    meta = {**meta, "script": "tests/reference/make_adamw.py"}
    with open(f"{folder}/{name}.json", "w") as file:
        json.dump({"format": "oracle-bundle/1", "data": f"{name}.bin", "meta": meta, "tensors": tensors}, file, indent=1)
        file.write("\n")


if __name__ == "__main__":
    write(sys.argv[1], "adamw", optimizer_arrays(), {"cases": CASES, "torch": torch.__version__.split("+")[0]})
    write(sys.argv[1], "schedule", schedule_arrays(), {"transformers": transformers.__version__})
