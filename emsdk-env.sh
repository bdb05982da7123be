# emsdk-env.sh: `source ./emsdk-env.sh` puts an emcc into PATH that builds Nook (bash; zsh works too).
#
# Taken, in this order: emcc of PATH if its version is 3.1.69 or a later 3.1 (NOOK_EMCC_ANY=1: whatever it is), the cache
# (${NOOK_CACHE:-~/.cache/nook}, shared by all clones), else tools/toolchain.py brings 3.1.69 into the cache.
# Works offline once that is there. Only clang 19 may need root; a sentence says so when it does.

_nook_emsdk() {
  local here found version rest
  here=$(cd "$(dirname "${BASH_SOURCE[0]:-$0}")" && pwd) || return 1
  if command -v emcc >/dev/null 2>&1; then
    version=$(emcc --version 2>/dev/null | sed -n '1s/.* \([0-9][0-9]*\.[0-9][0-9]*\.[0-9][0-9]*\).*/\1/p')
    rest=${version#3.1.}
    if [ -n "${NOOK_EMCC_ANY:-}" ] || { [ -n "$version" ] && [ "$rest" != "$version" ] && [ "$rest" -ge 69 ]; }; then
      return 0
    fi
    echo "emcc ${version:-of unknown version} in PATH is not 3.1.69 or a later 3.1; looking further." >&2
  fi
  found=$(python3 "$here/tools/toolchain.py") || return 1
  export PATH="$found:$PATH"
}

if ! _nook_emsdk; then
  unset -f _nook_emsdk
  return 1 2>/dev/null || exit 1
fi
unset -f _nook_emsdk
