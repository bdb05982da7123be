"""debian.py: files of a Debian release from the mirror that this machine's own apt uses.

Purpose  Where the ordinary internet does not answer, a package mirror often does. No host is written down here: it is read
         from apt's configuration. Chain of trust: the release file is signed by Debian's archive key (checked with gpgv
         against the keyring of this machine), it holds the hash of the index, the index holds the hash of each file.
"""
import lzma
import os
import re
import shutil
import subprocess
import urllib.request

import cache

KEYRING = '/usr/share/keyrings/debian-archive-keyring.gpg'


def mirror():
    """The Debian mirror of apt's configuration, without a trailing slash (a doubled one is refused by some)."""
    if not shutil.which('apt-get'):
        raise cache.SetupError('There is no apt-get here, so that no Debian mirror is known.')
    listed = subprocess.run(['apt-get', 'indextargets', '--format', '$(ORIGIN) $(CODENAME) $(REPO_URI)'],
                            capture_output=True, text=True, check=False).stdout
    found = [line.split()[-1] for line in listed.splitlines()
             if line.startswith('Debian ') and 'security' not in line and line.split()[-1].startswith('http')]
    if not found:  # no lists were fetched yet: the sources themselves
        text = ''
        folder = '/etc/apt/sources.list.d'
        names = [os.path.join(folder, name) for name in sorted(os.listdir(folder))] if os.path.isdir(folder) else []
        for name in ['/etc/apt/sources.list', *names]:
            if os.path.isfile(name):
                with open(name, encoding='utf-8', errors='replace') as file:
                    text += file.read() + '\n'
        found = [uri for uri in re.findall(r'^(?:deb(?:\s+\[[^\]]*\])?|URIs:)\s+(https?://\S+)', text, re.M)
                 if re.search(r'/debian/?$', uri)]
    if not found:
        raise cache.SetupError("No Debian mirror was found in apt's configuration.")
    return found[0].rstrip('/')


class Release:
    """One suite, e.g. trixie."""

    def __init__(self, suite):
        self.suite, self.mirror = suite, mirror()
        self.hashes = None

    def _release(self):
        if self.hashes is not None:
            return self.hashes
        if not (shutil.which('gpgv') and os.path.exists(KEYRING)):
            raise cache.SetupError('gpgv or the Debian archive keyring is missing: '
                                   'apt-get install gpgv debian-archive-keyring.')
        with urllib.request.urlopen(f'{self.mirror}/dists/{self.suite}/InRelease', timeout=cache.TIMEOUT_SECONDS) as answer:
            signed = answer.read()
        checked = subprocess.run(['gpgv', '--keyring', KEYRING, '--output', '-'], input=signed, capture_output=True,
                                 check=False)
        if checked.returncode != 0:
            raise cache.SetupError(f'The release file of Debian {self.suite} has no good signature of the archive key.')
        section = checked.stdout.decode().split('SHA256:', 1)[1]
        self.hashes = {name: (sha, int(size)) for sha, size, name in
                       re.findall(r'^ ([0-9a-f]{64}) +(\d+) (\S+)$', section, re.M)}
        return self.hashes

    def _index(self, name):
        sha256, size = self._release()[name]
        path = cache.fetch(f'{self.mirror}/dists/{self.suite}/{name}', sha256, size,
                           f'Debian {self.suite}, {os.path.basename(name)}')
        with lzma.open(path, 'rt', encoding='utf-8') as file:
            return file.read().split('\n\n')

    def packages(self, names, architecture):
        """{name: {field: value}} of the binary packages."""
        found = {}
        for paragraph in self._index(f'main/binary-{architecture}/Packages.xz'):
            name = paragraph[9:paragraph.find('\n')] if paragraph.startswith('Package: ') else ''
            if name in names:
                found[name] = dict(line.split(': ', 1) for line in paragraph.split('\n') if ': ' in line and line[0] != ' ')
        missing = sorted(set(names) - set(found))
        if missing:
            raise cache.SetupError(f'Debian {self.suite} has no package {", ".join(missing)} for {architecture}.')
        return found

    def deb(self, fields):
        """Downloads the package that packages() described; its path."""
        return cache.fetch(f"{self.mirror}/{fields['Filename']}", fields['SHA256'], int(fields['Size']),
                           f"{fields['Package']} {fields['Version']}")


def unpack(deb, into, exclude=()):
    """The files of a package, without its scripts; `exclude` holds tar's patterns."""
    os.makedirs(into, exist_ok=True)
    with subprocess.Popen(['dpkg-deb', '--fsys-tarfile', deb], stdout=subprocess.PIPE) as source:
        patterns = [f'--exclude={pattern}' for pattern in exclude]
        status = subprocess.run(['tar', '-x', '--no-same-owner', '-C', into, *patterns], stdin=source.stdout,
                                check=False).returncode
        source.stdout.close()
    if status != 0 or source.returncode != 0:
        raise cache.SetupError(f'{os.path.basename(deb)} could not be unpacked (is the disk full?).')
