/* The command line: what bad usage is told, and with which status. What needs a model is in model.test.mjs. */
import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'node:test'
import { parseIds } from '../../web/cli/tokenize.js'
import { nook } from './cli-run.mjs'
import { CLI, TINY, folder } from './support.mjs'

const VERBS = [
  'info', 'convert', 'tokenize', 'logits', 'perplexity', 'embed', 'generate', 'chat', 'train', 'bench', 'serve',
]

test('without a verb: the verbs, and status 2; with --help: status 0', async () => {
  const bare = await nook([])
  assert.equal(bare.status, 2)
  const help = await nook(['--help'])
  assert.equal(help.status, 0)
  for (const verb of VERBS) assert.match(help.out, new RegExp(`nook ${verb} `))
})

test('every verb documents each of its flags', async () => {
  for (const name of VERBS) {
    const { status, out } = await nook([name, '--help'])
    assert.equal(status, 0)
    const { verb } = await import(`../../web/cli/${name}.js`)
    for (const flag of Object.keys(verb.options))
      assert.ok(out.includes(`--${flag}`), `nook ${name} --help lacks --${flag}`)
  }
})

for (const [args, words] of /** @type {[string[], RegExp][]} */ ([
  [['fly'], /no verb "fly"/],
  [['info'], /needs one MODEL/],
  [['info', 'a', 'b'], /takes one MODEL/],
  [['info', 'm.gguf', '--fast'], /--fast/],
  [['info', 'm.gguf', '--context', 'much'], /--context is "much"/],
  [['info', 'm.gguf', '--context', '0'], /--context is "0"/],
  [['info', 'm.gguf', '--build', 'best'], /--build is "best".*auto, base, relaxed/],
  [['info', 'm.gguf', '--kv', 'f8'], /--kv is "f8"/],
  [['generate', 'm.gguf', '--prompt', 'x', '--threads', '65'], /--threads is "65"/],
  [['generate', 'm.gguf'], /--prompt/],
  [['generate', 'm.gguf', '--prompt', 'x', '--top-p', '2'], /--top-p is "2"/],
  [['generate', 'm.gguf', '--prompt', 'x', '--max-tokens', '1.5'], /--max-tokens/],
  [['generate', 'm.gguf', '--prompt', 'x', '--logit-bias', '{'], /--logit-bias is not JSON/],
  [['generate', 'm.gguf', '--prompt', 'x', '--choices', '[1]'], /--choices/],
  [['generate', 'm.gguf', '--prompt', 'x', '--context-full', 'burst'], /stop, shift/],
  [['chat', 'm.gguf', '--prompt', 'x', '--messages', 'y'], /not both/],
  [['tokenize', 'm.gguf'], /0 were given/],
  [['tokenize', 'm.gguf', 'text', '--file', 'f'], /2 were given/],
  [['tokenize', 'm.gguf', '--detokenize', '1 x'], /"x" is not a token id/],
  [['logits', 'm.gguf', '--out', 'o'], /needs --tokens/],
  [['logits', 'm.gguf', '--tokens', 'o'], /needs --out/],
  [['perplexity', 'm.gguf'], /one FILE/],
  [['perplexity', 'm.gguf', 'f', '--window', '1'], /--window is "1"/],
  [['convert', 'folder'], /needs DIR and OUT/],
  [['convert', 'folder', 'out.gguf', '--outtype', 'q4_k'], /--outtype is "q4_k".*f32, f16, q8_0/],
  [['generate', 'm.gguf', '--prompt', 'x', '--adapter', 'a', '--seed', '-1'], /--seed/],
  [['train', 'm.gguf', '--out', 'o'], /needs --data/],
  [['train', 'm.gguf', '--data', 'd'], /needs --out/],
  [['train', 'm.gguf', '--data', 'd', '--out', 'o', '--method', 'full'], /--method is "full".*lora, prompt/],
  [['train', 'm.gguf', '--data', 'd', '--out', 'o', '--steps', '1', '--epochs', '2'], /one of --epochs/],
  [['train', 'm.gguf', '--data', 'd', '--out', 'o.gguf', '--method', 'ia3'], /LoRA only/],
  [['train', 'm.gguf', '--data', 'd', '--out', 'o', '--lr', 'fast'], /--lr is "fast"/],
  [['bench', 'm.gguf', '--repeats', '0'], /--repeats/],
  [['serve', '--port', '70000'], /--port/],
  [['serve', 'x'], /no arguments/],
])) {
  test(`bad usage: nook ${args.join(' ')}`, async () => {
    const { status, out, err } = await nook(args)
    assert.equal(status, 2)
    assert.equal(out, '')
    assert.match(err, words)
    assert.equal(err.trim().split('\n').length, 1, 'one line')
    assert.doesNotMatch(err, /\bat \S+:\d+/, 'no stack')
  })
}

for (const [what, make, words] of /** @type {[string, (path: string) => string[], RegExp][]} */ ([
  ['a missing model', (path) => ['info', join(path, 'no.gguf')], /no file .*no\.gguf/],
  ['a folder as a model', (path) => ['info', path], /is a folder/],
  [
    'a file that is no GGUF',
    (path) => {
      writeFileSync(join(path, 'x.gguf'), 'hello there, this is text and no model at all')
      return ['info', join(path, 'x.gguf')]
    },
    /gguf/i,
  ],
  [
    'an empty file',
    (path) => {
      writeFileSync(join(path, 'x.gguf'), '')
      return ['info', join(path, 'x.gguf')]
    },
    /./,
  ],
  ['an unreachable address', () => ['info', 'http://127.0.0.1:1/x.gguf', '--cache', 'memory'], /cannot be reached/],
  ['a missing text', (path) => ['perplexity', TINY, join(path, 'no.txt')], /no file .*no\.txt/],
  [
    'ids that are no JSON',
    (path) => {
      writeFileSync(join(path, 'i.json'), '[1,')
      return ['logits', TINY, '--tokens', join(path, 'i.json'), '--out', join(path, 'o')]
    },
    /not JSON/,
  ],
  [
    'ids that are no ids',
    (path) => {
      writeFileSync(join(path, 'i.json'), '["a"]')
      return ['logits', TINY, '--tokens', join(path, 'i.json'), '--out', join(path, 'o')]
    },
    /array of token ids/,
  ],
  [
    'an output folder that is not there',
    (path) => {
      writeFileSync(join(path, 'i.json'), '[1]')
      return ['logits', TINY, '--tokens', join(path, 'i.json'), '--out', join(path, 'no', 'o')]
    },
    /cannot be written/,
  ],
  [
    'a line without text',
    (path) => {
      writeFileSync(join(path, 'l'), '{"text": "a"}\n{"txt": 1}\n')
      return ['tokenize', TINY, '--jsonl', join(path, 'l')]
    },
    /line 2/,
  ],
  ['a wrong hash', () => ['generate', TINY, '--prompt', 'x', '--sha256', 'a'.repeat(64)], /./],
])) {
  test(`status 1 and one sentence: ${what}`, async (t) => {
    const { status, out, err } = await nook(make(folder(t)))
    assert.equal(status, 1)
    assert.equal(out, '')
    assert.match(err, words)
    assert.equal(err.trim().split('\n').length, 1, err)
    assert.doesNotMatch(err, /\bat \S+:\d+/, 'no stack')
  })
}

test('ids are read in the forms people write', () => {
  assert.deepEqual(parseIds('[1, 2,3]'), [1, 2, 3])
  assert.deepEqual(parseIds(' 1 2\n3 '), [1, 2, 3])
  assert.deepEqual(parseIds('[]'), [])
})

test('nook serve prints its address, takes another port when it must, and ends by Ctrl-C', async (t) => {
  const start = (/** @type {string[]} */ args) => {
    const child = spawn(process.execPath, [CLI, 'serve', '--json', ...args], { stdio: ['ignore', 'pipe', 'inherit'] })
    t.after(() => child.kill('SIGKILL'))
    const address = new Promise((resolve) => {
      child.stdout.setEncoding('utf8').once('data', (text) => resolve(JSON.parse(text).address))
    })
    const closed = new Promise((resolve) => { child.on('close', resolve) })
    return { child, address, closed }
  }
  const first = start(['--port', '0'])
  const address = String(await first.address)
  const { port } = new URL(address)
  const second = start(['--port', port])
  assert.notEqual(new URL(String(await second.address)).port, port)
  const page = await fetch(new URL('/app/index.html', address))
  assert.equal(page.status, 200)
  await page.text()
  for (const { child, closed } of [first, second]) {
    child.kill('SIGINT')
    assert.equal(await closed, 0)
  }
})
