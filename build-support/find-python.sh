# Sourced by POSIX shells: `find_python` sets $python to the absolute path of a CPython 3.9, or to
# nothing, and $python_origin to where it was found: path, pyenv or uv. It only looks at file names
# and starts no process, because the launcher calls it on every run.

find_python() {
    python=
    python_origin=

    find_python_ifs=$IFS
    IFS=:
    set -f
    for find_python_directory in $PATH; do
        case $find_python_directory in
            # A shim exists whether or not the version behind it is switched on, so the versions
            # themselves are looked at below.
            */shims | */shims/) continue ;;
            /*) ;;
            *) continue ;;
        esac
        find_python_file=$find_python_directory/python3.9
        if [ -f "$find_python_file" ] && [ -x "$find_python_file" ]; then
            python=$find_python_file
            python_origin=path
            break
        fi
    done
    set +f
    IFS=$find_python_ifs

    if [ -z "$python" ]; then
        for find_python_file in "${PYENV_ROOT:-${HOME-}/.pyenv}"/versions/3.9.*/bin/python3.9; do
            if [ -x "$find_python_file" ]; then
                python=$find_python_file
                python_origin=pyenv
            fi
        done
    fi

    if [ -z "$python" ]; then
        find_python_directory=${XDG_DATA_HOME:-${HOME-}/.local/share}/uv/python
        for find_python_file in \
            "${UV_PYTHON_INSTALL_DIR:-$find_python_directory}"/cpython-3.9.*/bin/python3.9; do
            if [ -x "$find_python_file" ]; then
                python=$find_python_file
                python_origin=uv
            fi
        done
    fi
}
