"""third_party.py NAME...: brings the sources named in third_party.json into the shared cache and prints their folders.

Each is tried from its own address first, then from Debian's source pool (the same archive, the same hash), for machines
on which only a package mirror answers. CMake finds them there (cmake/dependencies.cmake).
"""
import json
import os
import shutil
import subprocess
import sys
import tarfile
import tempfile

import cache
import debian


def from_archive(path, entry, raw):
    """Unpacks an archive with one folder at its top; the path of that folder."""
    if path.endswith('.deb'):
        debian.unpack(path, raw)
        return os.path.join(raw, entry['debian']['inside'])
    with tarfile.open(path) as tar:
        if hasattr(tarfile, 'data_filter'):
            tar.extractall(raw, filter='data')
        else:
            tar.extractall(raw)
    tops = os.listdir(raw)
    if len(tops) != 1:
        raise cache.SetupError(f'{os.path.basename(path)} has {len(tops)} entries at its top instead of one.')
    return os.path.join(raw, tops[0])


def from_git(entry, raw):
    """The pinned commit, without history; the path of its checkout."""
    environment = {**os.environ, 'GIT_TERMINAL_PROMPT': '0'}
    for command in (['init', '-q', raw], ['-C', raw, 'fetch', '-q', '--depth', '1', entry['git'], entry['commit']],
                    ['-C', raw, 'checkout', '-q', 'FETCH_HEAD']):
        done = subprocess.run(['git', *command], capture_output=True, text=True, check=False, timeout=120, env=environment)
        if done.returncode != 0:
            raise OSError(done.stderr.strip().split('\n')[-1])
    shutil.rmtree(os.path.join(raw, '.git'))
    return raw


def ways(name, entry):
    """The ways to get it, in order; each fills the folder it is given and says where in it the sources lie."""
    what, pool = f"{name} {entry['version']}", entry['debian']

    def download(address, sha256):
        def way(raw):
            path = cache.fetch(address(), sha256, what=what, timeout=8)
            top = from_archive(path, entry, raw)
            cache.drop(path)
            return top
        return way

    if 'git' in entry:
        yield lambda raw: from_git(entry, raw)
    else:
        yield download(lambda: entry['url'], entry['sha256'])
    yield download(lambda: f"{debian.mirror()}/{pool['folder']}/{pool['file']}", pool.get('sha256') or entry['sha256'])


def bring(name, entry):
    final = os.path.join(cache.root(), 'src', f"{name}-{entry['version']}")
    if os.path.isdir(final):
        return final
    reasons = []
    for way in ways(name, entry):
        try:
            with cache.Building(final) as folder, tempfile.TemporaryDirectory(dir=folder) as raw:
                top = way(raw)
                for item in os.listdir(top):
                    shutil.move(os.path.join(top, item), folder)
            return final
        except (OSError, cache.SetupError, subprocess.TimeoutExpired) as error:
            reasons.append(str(error))
    raise cache.SetupError(f"{name} {entry['version']} could not be fetched: {'; '.join(reasons)}.")


def main():
    with open(os.path.join(os.path.dirname(os.path.abspath(__file__)), 'third_party.json'), encoding='utf-8') as file:
        entries = json.load(file)
    for name in sys.argv[1:]:
        print(bring(name, entries[name]))


if __name__ == '__main__':
    try:
        main()
    except cache.SetupError as error:
        sys.exit(str(error))
