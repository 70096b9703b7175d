#!/usr/bin/env bash
# Installs the system packages that set-up needs, and only those that are missing:
# PortAudio (live sound), FluidSynth (rendering SoundFonts), libatomic (pedalboard), JACK (the tests play through its dummy driver),
# Python with venv, and from Python 3.13 on a compiler. WITH_SOUNDFONT=1 adds FluidR3 GM, 140 MB, which only the papers' report needs.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

fail() {
    echo "$*" >&2
    exit 1
}

has_library() { # NAME: is libNAME known to the dynamic linker?
    local linker
    linker=$(PATH="$PATH:/usr/sbin:/sbin" command -v ldconfig || true)
    [ -n "$linker" ] && "$linker" -p | grep "lib$1\.so" >/dev/null
}

has_venv() { # PYTHON: Debian splits ensurepip off
    "$1" -c 'import ensurepip, venv' >/dev/null 2>&1
}

has_headers() { # PYTHON
    "$1" -c 'import os, sysconfig; raise SystemExit(not os.path.exists(sysconfig.get_path("include") + "/Python.h"))' >/dev/null 2>&1
}

version_of() { # PYTHON: 3.12, say
    "$1" -c 'import sys; print("%d.%d" % sys.version_info[:2])'
}

needs_compiler() { # VERSION: python-rtmidi has ready-made wheels up to Python 3.12 only
    [[ $1 != 3.11 && $1 != 3.12 ]]
}

first_available() { # PACKAGE…: the first that apt knows; where it knows none, the first
    local package
    for package in "$@"; do
        if apt-cache policy "$package" 2>/dev/null | grep 'Candidate: [^(]' >/dev/null; then
            echo "$package"
            return
        fi
    done
    echo "$1"
}

missing_packages() {
    local python version package
    has_library portaudio || first_available libportaudio2 libportaudio2t64
    has_library fluidsynth || first_available libfluidsynth3 libfluidsynth2
    has_library atomic || echo libatomic1
    command -v jackd >/dev/null || echo jackd2
    [ -z "${WITH_SOUNDFONT:-}" ] || [ -e /usr/share/sounds/sf2/FluidR3_GM.sf2 ] || echo fluid-soundfont-gm
    if python=$(bash .ci/find-python.sh); then
        version=$(version_of "$python")
        has_venv "$python" || echo "python$version-venv"
    else
        package=$(first_available python3.12-venv python3.11-venv python3.13-venv) # each brings its interpreter
        echo "$package"
        python='' version=${package%-venv} version=${version#python}
    fi
    if needs_compiler "$version"; then
        command -v g++ >/dev/null || echo g++
        command -v pkg-config >/dev/null || echo pkg-config
        [ -e /usr/include/alsa/asoundlib.h ] || echo libasound2-dev
        has_headers "$python" || echo "python$version-dev"
    fi
}

as_root() {
    if [ "$(id -u)" = 0 ]; then "$@"; else sudo -n "$@"; fi
}

with_apt() {
    local packages
    packages=$(missing_packages | xargs)
    [ -n "$packages" ] || return 0
    local by_hand="sudo apt-get update && sudo apt-get install --no-install-recommends $packages"
    if [ "$(id -u)" != 0 ] && ! sudo -n true 2>/dev/null; then
        fail "Set-up needs the system packages $packages and may not install them itself; run: $by_hand"
    fi
    as_root apt-get -qq update || echo "apt-get update did not reach every source; going on with what is known." >&2
    packages=$(missing_packages | xargs) # again: before the update apt may have known no package at all
    echo "Installing system packages: $packages"
    if [[ " $packages " == *" jackd2 "* ]]; then
        echo "jackd2 jackd/tweak_rt_limits boolean false" | as_root debconf-set-selections || true # asks nothing, grants nothing
    fi
    # shellcheck disable=SC2086  # a list of words
    as_root env DEBIAN_FRONTEND=noninteractive apt-get -qq -o DPkg::Lock::Timeout=300 install --yes --no-install-recommends $packages ||
        fail "apt-get could not install $packages; see its message above, then run: sudo apt-get install --no-install-recommends $packages"
}

with_homebrew() {
    local library packages=()
    for library in portaudio:libportaudio fluid-synth:libfluidsynth jack:libjack; do
        compgen -G "/opt/homebrew/lib/${library#*:}*.dylib" >/dev/null || compgen -G "/usr/local/lib/${library#*:}*.dylib" >/dev/null ||
            packages+=("${library%%:*}")
    done
    bash .ci/find-python.sh >/dev/null || packages+=(python@3.12)
    [ ${#packages[@]} = 0 ] || fail "Set-up needs ${packages[*]}; run: brew install ${packages[*]}"
}

by_hand() {
    local python missing=()
    has_library portaudio || missing+=(PortAudio)
    has_library fluidsynth || missing+=("FluidSynth 2 or newer")
    command -v jackd >/dev/null || missing+=("the JACK 2 server")
    has_library atomic || missing+=(libatomic)
    if ! python=$(bash .ci/find-python.sh) || ! has_venv "$python"; then
        missing+=("Python 3.11 or 3.12 with venv")
    elif needs_compiler "$(version_of "$python")" && ! command -v g++ >/dev/null; then
        missing+=("Python 3.11 or 3.12, or a C++ compiler and the ALSA headers for the one that is here")
    fi
    local list
    list=$(printf '%s, ' "${missing[@]}")
    [ ${#missing[@]} = 0 ] || fail "Set-up needs ${list%, }, and this machine has no apt-get; install that with the system's package manager and run make again."
}

if [ "$(uname -s)" = Darwin ]; then
    with_homebrew
elif command -v apt-get >/dev/null; then
    with_apt
else
    by_hand
fi
