"""cache.py: the folder that all clones share, and downloads into it.

Purpose  One place for what the set-up brings: $NOOK_CACHE, or .cache/nook in the home folder. Files are written under a
         temporary name and renamed, so that an interrupted run leaves nothing half done; a download lies under its SHA-256.
Limits   Progress goes to stderr: one line that is rewritten on a terminal, one line every 10 % elsewhere (small files: one).
"""
import hashlib
import os
import shutil
import sys
import tempfile
import time
import urllib.request

TIMEOUT_SECONDS = 20  # without a byte


class SetupError(Exception):
    """One sentence for the person: what, where, what to do."""


def root():
    folder = os.environ.get('NOOK_CACHE') or os.path.join(os.path.expanduser('~'), '.cache', 'nook')
    os.makedirs(folder, exist_ok=True)
    return os.path.abspath(folder)


def say(text):
    print(text, file=sys.stderr, flush=True)


class Progress:
    """what: 12 of 237 MB (5 %)."""

    def __init__(self, what, total):
        self.what, self.total, self.done, self.shown = what, total, 0, -1
        self.terminal = sys.stderr.isatty()

    def add(self, count):
        self.done += count
        percent = 100 * self.done // self.total if self.total else 0
        step = percent if self.terminal else percent // 10
        small = self.total < 20e6 and not self.terminal
        if (step == self.shown or small) and self.done != self.total:
            return
        self.shown = step
        line = f'{self.what}: {self.done / 1e6:.1f} of {self.total / 1e6:.1f} MB ({percent} %)'
        print(line, file=sys.stderr, end='\r' if self.terminal and self.done < self.total else '\n', flush=True)


def sha256_of(path):
    digest = hashlib.sha256()
    with open(path, 'rb') as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def fetch(url, sha256, size=0, what=None, timeout=TIMEOUT_SECONDS):
    """Path of the file with this hash, downloaded once. Raises SetupError (wrong hash) or OSError (no answer)."""
    name = os.path.basename(url)
    folder = os.path.join(root(), 'downloads')
    os.makedirs(folder, exist_ok=True)
    path = os.path.join(folder, f'{sha256[:16]}-{name}')
    if os.path.exists(path):
        return path
    digest = hashlib.sha256()
    handle, temporary = tempfile.mkstemp(prefix='part-', dir=folder)
    try:
        with os.fdopen(handle, 'wb') as file, urllib.request.urlopen(url, timeout=timeout) as answer:
            progress = Progress(what or name, size or int(answer.headers.get('Content-Length') or 0))
            while block := answer.read(1 << 18):
                file.write(block)
                digest.update(block)
                progress.add(len(block))
        if digest.hexdigest() != sha256:
            raise SetupError(f'{name} was received with SHA-256 {digest.hexdigest()} instead of {sha256}; '
                             'nothing of it was used. Try again, or look at what stands between you and the mirror.')
        os.replace(temporary, path)
    except BaseException:
        if os.path.exists(temporary):
            os.unlink(temporary)
        raise
    return path


def drop(path):
    """Removes a download that has been unpacked."""
    if os.path.exists(path):
        os.unlink(path)


class Building:
    """with Building(final) as folder: fill `folder`; it becomes `final` at the end, or vanishes.

    Another run that was faster wins.
    """

    def __init__(self, final):
        self.final = final

    def __enter__(self):
        parent = os.path.dirname(self.final)
        os.makedirs(parent, exist_ok=True)
        for name in os.listdir(parent):  # what an interrupted run of more than a day ago left
            old = os.path.join(parent, name)
            if name.startswith('.building-') and time.time() - os.path.getmtime(old) > 86400:
                shutil.rmtree(old, ignore_errors=True)
        self.folder = tempfile.mkdtemp(prefix='.building-', dir=parent)
        os.chmod(self.folder, 0o755)
        return self.folder

    def __exit__(self, kind, value, traceback):
        if kind is None:
            try:
                os.rename(self.folder, self.final)
            except OSError:
                if not os.path.isdir(self.final):
                    raise
        shutil.rmtree(self.folder, ignore_errors=True)
