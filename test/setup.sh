#!/bin/sh
# Install what the tests need: Debian packages, and npm packages under test/black/node_modules.
# Says what it installs; does nothing where all is there.
set -eu
cd "$(dirname "$0")/.."

packages='gcc libc6-dev libbearssl-dev make git clang libclang-rt-14-dev valgrind curl socat chromium mandoc binutils
	python3 python3-websockets python3-jwt python3-cryptography procps
	busybox-static shellcheck systemd dpkg-dev debhelper lintian kconfig-frontends-nox util-linux
	qemu-system-arm gcc-arm-linux-gnueabihf
	openssl libnss3-tools testssl.sh sslscan'
command -v node >/dev/null || packages="$packages nodejs"
command -v npm >/dev/null || packages="$packages npm"
missing=
for p in $packages; do
	dpkg-query -W -f '${Status}' "$p" 2>/dev/null | grep -q 'ok installed' || missing="$missing $p"
done
if [ -n "$missing" ]; then
	echo "make check: installing Debian packages:$missing"
	root=
	[ "$(id -u)" = 0 ] || root=sudo
	$root apt-get update -qq
	# shellcheck disable=SC2086
	DEBIAN_FRONTEND=noninteractive $root apt-get install -y -qq --no-install-recommends $missing >/dev/null
fi

if ! cmp -s test/black/package-lock.json test/black/node_modules/.installed; then
	echo "make check: installing npm packages in test/black/node_modules: ws, jsonwebtoken, jose, playwright-core"
	(cd test/black && npm ci --silent --no-audit --no-fund --ignore-scripts)
	cp test/black/package-lock.json test/black/node_modules/.installed
fi
