# Builder of a shell script that runs on $bash, $coreutils and $python and on nothing else.
set -u
PATH=/usr/bin:/bin

mkdir -p "$out/bin"
cat > "$out/bin/app" <<EOF
#!$bash/bin/bash
export PATH=$coreutils/bin:$python/bin
echo "hello from \$(basename "\$0")"
python3 -c 'import ssl, sys, zlib; print("python", sys.version.split()[0], ssl.OPENSSL_VERSION)'
EOF
chmod +x "$out/bin/app"
