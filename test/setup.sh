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
# shellcheck disable=SC2086
sh dist/packages.sh "make check" $packages

if ! cmp -s test/black/package-lock.json test/black/node_modules/.installed; then
	echo "make check: installing npm packages in test/black/node_modules: ws, jsonwebtoken, jose, playwright-core"
	(cd test/black && npm ci --silent --no-audit --no-fund --ignore-scripts)
	cp test/black/package-lock.json test/black/node_modules/.installed
fi
