# Sourced by tools/demo, tools/test, tools/check, tools/mutation and tools/bench/run: finds a Python that is new
# enough, then runs one module of those under tools with it. $PYTHON, if set, is the only one tried.

launch() { # TOOLS_DIRECTORY MODULE [ARGUMENT...]
    tools=$1
    module=$2
    shift 2
    for candidate in ${PYTHON:-python3 python3.14 python3.13 python3.12 python3.11}; do
        if "$candidate" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
            PYTHONPATH=$tools exec "$candidate" -m "$module" "$@"
        fi
    done
    echo "securecoap needs Python 3.11 or newer: install it (Debian: apt-get install python3 python3-venv), or name one: PYTHON=/path/to/python3" >&2
    exit 2
}
