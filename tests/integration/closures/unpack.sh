# Builder: unpacks the Debian packages $archives into $out, folds the directories that Debian has
# for several architectures, and patches programs and libraries to find what they need in $out,
# $inputs and $glibc. $links are symlinks to add, as `path=target`. The host's own tools do the
# work, hence only a build without sandbox can run this.
set -u
PATH=/usr/bin:/bin
umask 022

mkdir root
for archive in $archives; do
    dpkg-deb --fsys-tarfile "$archive" | tar -x -C root --no-same-owner --keep-directory-symlink
done
# Documentation is ballast; /etc and /var make no sense in a store path; gconv is half of glibc.
for ballast in doc man info locale lintian bug; do rm -rf "root/usr/share/$ballast"; done
rm -rf root/etc root/var

mkdir "$out"
fold() {
    if [ -d "$1" ]; then
        mkdir -p "$2"
        cp -a "$1/." "$2/"
        rm -rf "$1"
    fi
}
fold root/usr root
fold root/lib/x86_64-linux-gnu root/lib
rm -rf root/lib64 root/lib/gconv
cp -a root/. "$out/"

for link in $links; do ln -sf "${link#*=}" "$out/${link%%=*}"; done

if [ -n "$glibc" ]; then
    search="$out/lib"
    # Nix keeps its own libraries in a directory below.
    [ ! -d "$out/lib/nix" ] || search="$search:$out/lib/nix"
    for input in $inputs $glibc; do search="$search:$input/lib"; done
    find "$out" -type f \( -path '*/bin/*' -o -path '*/libexec/*' -o -name '*.so*' \) |
        while IFS= read -r file; do
            # Scripts, static programs and libraries that need nothing have no NEEDED entry.
            [ -n "$(patchelf --print-needed "$file" 2>/dev/null)" ] || continue
            chmod u+w "$file"
            # In this order: programs at a fixed address, as Python is one, do not survive the other one with
            # patchelf 0.18 (Debian 13), nor both changes at once.
            patchelf --set-rpath "$search" "$file"
            if patchelf --print-interpreter "$file" >/dev/null 2>&1; then
                patchelf --set-interpreter "$glibc/lib/ld-linux-x86-64.so.2" "$file"
            fi
        done
fi
