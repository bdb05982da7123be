"""toolchain.py: brings Emscripten 3.1.69 into the shared cache and prints the folder that holds emcc, for emsdk-env.sh.

Two ways, tried in this order:
  emsdk   where github answers: the pinned tag, installed by emsdk itself.
  debian  Emscripten and Binaryen of Debian 13 from this machine's own mirror, unpacked (never installed) into a folder of
          our own and run on Debian 13's own C library, with clang 19, lld 19 and llvm 19 of the machine (installed by
          apt-get for root, else unpacked beside it). Linux on x86-64.
A finished toolchain is found without a network.
"""
import os
import re
import shutil
import subprocess
import sys

import cache
import debian

VERSION = '3.1.69'
EMSDK = 'https://github.com/emscripten-core/emsdk.git'
SUITE = 'trixie'
LLVM = '19'
LLVM_PROGRAMS = [f'{name}-{LLVM}' for name in ('clang', 'wasm-ld', 'llvm-ar', 'llvm-nm', 'llvm-ranlib', 'llvm-objcopy')]
# Of Emscripten's archives (1.6 GB) only these variants of these libraries are linked or looked at.
KEPT = re.compile(r'^(lib(c|dlmalloc|compiler_rt)(-ww)?\.a)$')

UNWANTED = ['./usr/share/doc', './usr/share/man'] + [f'./usr/share/emscripten/{name}' for name in (
    'docs', 'test', 'media', 'cache/sysroot/lib/*/lto', 'cache/sysroot/lib/*/thinlto')]


def quiet(*command, **options):
    return subprocess.run(command, capture_output=True, text=True, check=False, **options)


def loud(*command, **options):
    """Runs with its output on stderr, since our stdout is the answer."""
    return subprocess.run(command, stdout=sys.stderr, check=False, **options).returncode


def works(folder):
    """Whether emcc of this folder runs; an unpacked clang or Node that went away makes it false."""
    emcc = os.path.join(folder, 'emcc')
    return os.path.exists(emcc) and quiet(emcc, '--version').returncode == 0


# ---- emsdk ---------------------------------------------------------------------------------------------------------

def emsdk_folder():
    return os.path.join(cache.root(), f'emsdk-{VERSION}', 'upstream', 'emscripten')


def emsdk():
    environment = {**os.environ, 'GIT_TERMINAL_PROMPT': '0'}
    try:
        answer = quiet('git', 'ls-remote', EMSDK, f'refs/tags/{VERSION}', timeout=10, env=environment)
    except subprocess.TimeoutExpired:
        return 'github did not answer within 10 seconds'
    if answer.returncode != 0:
        return 'github did not answer'
    final = os.path.join(cache.root(), f'emsdk-{VERSION}')
    shutil.rmtree(final, ignore_errors=True)  # it doesn't work, or main() would have taken it
    cache.say(f'Emscripten {VERSION} by emsdk (some 300 MB) …')
    try:
        with cache.Building(final) as folder:
            if loud('git', 'clone', '-q', '--depth', '1', '--branch', VERSION, EMSDK, folder, env=environment) != 0:
                raise cache.SetupError('`git clone` failed')
            if loud(sys.executable, os.path.join(folder, 'emsdk.py'), 'install', VERSION) != 0:
                raise cache.SetupError('`emsdk install` failed')
        # Where it stays, since the configuration may hold the path.
        if loud(sys.executable, os.path.join(final, 'emsdk.py'), 'activate', VERSION) != 0:
            return '`emsdk activate` failed'
    except (OSError, cache.SetupError) as error:
        return str(error)
    return None if works(emsdk_folder()) else 'the emcc that emsdk installed does not run'


# ---- Debian --------------------------------------------------------------------------------------------------------

def debian_root():
    return os.path.join(cache.root(), f'emscripten-{VERSION}-debian')


def debian_folder():
    return os.path.join(debian_root(), 'usr', 'share', 'emscripten')


def script(path, text):
    with open(path, 'w', encoding='utf-8') as file:
        file.write(f'#!/bin/sh\n{text}\n')
    os.chmod(path, 0o755)


def llvm():
    """The folder of clang-19 and its tools: the system's, or (without root) one of our own."""
    own = os.path.join(cache.root(), f'llvm-{LLVM}')
    for folder in ('/usr/bin', os.path.join(own, 'bin')):
        if all(os.access(os.path.join(folder, name), os.X_OK) for name in LLVM_PROGRAMS):
            return folder
    names = [f'clang-{LLVM}', f'lld-{LLVM}', f'llvm-{LLVM}']
    wish = f'apt-get install {" ".join(names)}'
    if os.geteuid() == 0:
        cache.say(f'{wish} …')
        quiet('apt-get', 'update')
        if loud('apt-get', 'install', '-y', '-q', '--no-install-recommends', *names,
                env={**os.environ, 'DEBIAN_FRONTEND': 'noninteractive'}) == 0:
            return '/usr/bin'
        raise cache.SetupError(f'`{wish}` failed: the WebAssembly build needs clang {LLVM}.')
    simulated = quiet('apt-get', '-s', 'install', '--no-install-recommends', *names)
    needed = re.findall(r'^Inst (\S+)', simulated.stdout, re.M)
    needed += [name for name in names if name not in needed]
    try:
        with cache.Building(own) as folder:
            debs = os.path.join(folder, 'debs')
            os.makedirs(debs)
            cache.say(f'clang {LLVM} without root: {len(needed)} packages …')
            if simulated.returncode != 0 or loud('apt-get', 'download', *needed, cwd=debs) != 0:
                raise cache.SetupError('apt-get offers no such packages')
            for name in sorted(os.listdir(debs)):
                debian.unpack(os.path.join(debs, name), folder, ('./usr/share/doc', './usr/share/man'))
            shutil.rmtree(debs)
            os.makedirs(os.path.join(folder, 'bin'))
            for name in LLVM_PROGRAMS:
                # /usr/bin/NAME-19 is a relative link to ../lib/llvm-19/bin/NAME; its libraries lie in two places.
                script(os.path.join(folder, 'bin', name),
                       f'LD_LIBRARY_PATH="{own}/usr/lib/x86_64-linux-gnu:{own}/usr/lib/llvm-{LLVM}/lib"\n'
                       'export LD_LIBRARY_PATH\n'
                       f'exec "{own}/usr/bin/{name}" "$@"')
            script(os.path.join(folder, 'bin', f'clang++-{LLVM}'), f'exec "{own}/bin/clang-{LLVM}" --driver-mode=g++ "$@"')
    except (OSError, cache.SetupError) as error:
        raise cache.SetupError(f'clang {LLVM} is missing and could not be unpacked without root ({error}); '
                               f'let the administrator run: {wish}') from error
    return os.path.join(own, 'bin')


def prune(folder):
    """Removes what no build of ours links from Emscripten's cache of libraries."""
    libraries = os.path.join(folder, 'cache', 'sysroot', 'lib', 'wasm32-emscripten')
    for name in os.listdir(libraries):
        path = os.path.join(libraries, name)
        if os.path.isdir(path):
            shutil.rmtree(path)
        elif not KEPT.match(name):
            os.unlink(path)


def debian_way():
    if sys.platform != 'linux' or os.uname().machine != 'x86_64':
        return 'this is not Linux on x86-64'
    if not shutil.which('dpkg-deb'):
        return 'this is not a Debian system (there is no dpkg-deb)'
    root = debian_root()
    clang = llvm()
    try:
        release = debian.Release(SUITE)
        names = ['emscripten', 'binaryen', 'libc6', 'libstdc++6', 'libgcc-s1']
        packages = release.packages(names, 'amd64')
        if not packages['emscripten']['Version'].startswith(VERSION):
            return f"Debian {SUITE} has Emscripten {packages['emscripten']['Version']}, not {VERSION}"
        with cache.Building(root) as folder:
            fetched = [(name, release.deb(packages[name])) for name in names]
            cache.say('Unpacking Emscripten …')
            for name, deb in fetched:
                own = folder if name == 'emscripten' else os.path.join(folder, 'binaryen', 'system')
                debian.unpack(deb, own, UNWANTED)
            prune(os.path.join(folder, 'usr', 'share', 'emscripten'))
            programs = os.path.join(folder, 'binaryen', 'bin')
            os.makedirs(programs)
            system = os.path.join(root, 'binaryen', 'system', 'usr')
            for name in os.listdir(os.path.join(folder, 'binaryen', 'system', 'usr', 'bin')):
                if name.startswith('wasm-'):
                    script(os.path.join(programs, name), f'exec "{system}/lib64/ld-linux-x86-64.so.2" --library-path '
                           f'"{system}/lib/x86_64-linux-gnu" "{system}/bin/{name}" "$@"')
            with open(os.path.join(folder, 'usr', 'share', 'emscripten', '.emscripten'), 'w', encoding='utf-8') as file:
                file.write(f"import shutil\nLLVM_ROOT = '{clang}'\nBINARYEN_ROOT = '{root}/binaryen'\n"
                           "NODE_JS = shutil.which('node')\nFROZEN_CACHE = True\n"
                           f"LLVM_ADD_VERSION = '{LLVM}'\nCLANG_ADD_VERSION = '{LLVM}'\n"
                           f"CACHE = '{root}/usr/share/emscripten/cache'\n")
            for _, deb in fetched:
                cache.drop(deb)
    except (OSError, cache.SetupError) as error:
        return str(error)
    return None if works(debian_folder()) else 'the unpacked emcc does not run'


def main():
    if not shutil.which('node'):
        raise cache.SetupError('Emscripten needs node in PATH.')
    reasons = []
    for name, folder, way in (('emsdk', emsdk_folder, emsdk), ('Debian packages', debian_folder, debian_way)):
        if works(folder()):
            print(folder())
            return
        if os.path.isdir(debian_root()) and way is debian_way:  # its clang was removed: make it anew
            shutil.rmtree(debian_root())
    for name, folder, way in (('emsdk', emsdk_folder, emsdk), ('Debian packages', debian_folder, debian_way)):
        try:
            reason = way()
        except cache.SetupError as error:
            reason = str(error)
        if reason is None:
            print(folder())
            return
        reasons.append(f'{name}: {reason.rstrip(".")}')
    raise cache.SetupError(f"Emscripten {VERSION} could not be had. {'. '.join(reasons)}. "
                           'Put an emcc of that version into PATH, or connect to the internet, and run it again.')


if __name__ == '__main__':
    try:
        main()
    except cache.SetupError as error:
        sys.exit(str(error))
