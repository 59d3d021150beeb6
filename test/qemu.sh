#!/bin/sh
# make check-qemu ARCH=A: the black-box suite against the static binary of that architecture, under
# qemu-user. What an emulator cannot show is skipped, each test with its reason.
set -eu
cd "$(dirname "$0")/.."
arch=$1
shift
case $arch in
armhf|armel) qemu=qemu-arm ;;
*) qemu=qemu-$arch ;;
esac
sh test/setup.sh
command -v "$qemu" >/dev/null || sh dist/packages.sh "make check-qemu" qemu-user
binary=$PWD/build/static/$arch/sluice run=build/qemu/$arch/sluice
mkdir -p "${run%/*}"
if [ "$arch" = "$(uname -m)" ]; then
	run=$binary
else
	printf '#!/bin/sh\nexec %s %s "$@"\n' "$qemu" "$binary" > "$run"
	chmod +x "$run"
fi
SLUICE=$run exec /usr/bin/python3 test/black/run.py "$@"
