#!/bin/sh
# sysroot.sh ARCH: makes build/sysroot/ARCH, from which a static sluice is built: musl's and
# BearSSL's archives and headers, the kernel's headers, and gcc's specs that keep to them.
#
# Both are built from Debian's source packages, so that every architecture goes the same way:
# Debian has no musl for big-endian mips, and its libbearssl.a wants glibc. The system's own
# lists of apt are read and not touched.
set -eu
cd "$(dirname "$0")/.."
unset MAKEFLAGS MAKEOVERRIDES ARCH CC CPPFLAGS CFLAGS LDFLAGS LDLIBS	# they are sluice's
arch=$1 flags='' link=''
case $arch in
x86_64)  deb=amd64 triplet=x86_64-linux-gnu ;;
aarch64) deb=arm64 triplet=aarch64-linux-gnu ;;
armhf)   deb=armhf triplet=arm-linux-gnueabihf ;;
armel)   deb=armel triplet=arm-linux-gnueabi ;;
# Routers have no floating point unit; Debian's compilers think that they do.
mipsel)  deb=mipsel triplet=mipsel-linux-gnu flags=-msoft-float link=--no-warn-mismatch ;;
mips)    deb=mips triplet=mips-linux-gnu flags=-msoft-float link=--no-warn-mismatch ;;
*) echo "make static: ARCH is x86_64, aarch64, armhf, armel, mipsel or mips, not '$arch'" >&2; exit 2 ;;
esac
root=$PWD/build/sysroot/$arch lib=$PWD/build/sysroot/$arch/lib

if [ $deb = "$(dpkg --print-architecture)" ]; then
	packages="gcc linux-libc-dev" kernel=/usr/include asm=/usr/include/$triplet/asm
else
	packages="gcc-$(echo $triplet | tr _ -) linux-libc-dev-$deb-cross"
	kernel=/usr/$triplet/include asm=/usr/$triplet/include/asm
fi
# shellcheck disable=SC2086
sh dist/packages.sh "make static" $packages binutils make dpkg-dev

# Debian's sources, from where the system has its packages of the same release.
sources=$PWD/build/source
if ! [ -e "$sources/done" ]; then
	echo "make static: downloading Debian's lists of sources, and its sources of musl and bearssl"
	rm -rf "$sources" && mkdir -p "$sources/apt/lists/partial" "$sources/apt/archives/partial"
	# shellcheck disable=SC1091
	. /etc/os-release
	# shellcheck disable=SC2016
	apt-get indextargets --format '$(REPO_URI) $(RELEASE) $(COMPONENT)' 'Identifier: Packages' |
		awk -v name="$VERSION_CODENAME" '$2 ~ "^" name "(-security|-updates)?$" && $3 == "main" &&
		!seen[$0]++ { print "deb-src", $0 }' > "$sources/apt/sources.list"
	cat > "$sources/apt/conf" <<-END
		Dir::Etc::sourcelist "$sources/apt/sources.list";
		Dir::Etc::sourceparts "-";
		Dir::State::lists "$sources/apt/lists";
		Dir::Cache "$sources/apt";
		Acquire::Retries "3";
		APT::Sandbox::User "";
		Acquire::Languages "none";
	END
	(cd "$sources" && export APT_CONFIG="$sources/apt/conf" &&
		apt-get update -qq && apt-get source -qq musl bearssl) > "$sources/log" 2>&1 ||
		{ cat "$sources/log" >&2; exit 1; }
	rm -r "$sources/apt"
	: > "$sources/done"
fi

# How to compile and link: by gcc's own rules, but for where things are, and with nothing to
# load at the start. -static-pie by itself would want gcc's paths, and an interpreter. Names
# that nobody will look up cost 15 KB on mips.
mkdir -p "$root" "$lib"
echo '{ local: *; };' > "$root/hidden"
headers="-nostdinc -isystem $root/include -isystem include%s -idirafter $root/kernel"
cat > "$root/specs.new" <<END
%rename cpp_options old_cpp_options
%rename cc1 old_cc1
%rename link old_link

*cpp_options:
$headers %(old_cpp_options)

*cc1:
$flags $headers %(old_cc1)

*link:
-L$lib %(old_link) -static -pie --no-dynamic-linker -z text --version-script=$root/hidden $link

*startfile:
$lib/rcrt1.o $lib/crti.o

*endfile:
$lib/crtn.o

*link_gcc_c_sequence:
-lc libgcc.a%s -lc

END
cmp -s "$root/specs.new" "$root/specs" || mv "$root/specs.new" "$root/specs"
# shellcheck disable=SC3013
if [ "$lib/libbearssl.a" -nt dist/sysroot.sh ]; then
	exit 0
fi

echo "make static: building musl and BearSSL for $arch"
small="-Os -fPIE -ffunction-sections -fdata-sections -fno-asynchronous-unwind-tables -fno-unwind-tables
	-fstack-protector"		# BearSSL's arithmetic in arrays of words has no canaries: -strong is 2.4 KB more
quiet() { "$@" > "$root/log" 2>&1 || { tail -n 20 "$root/log" >&2; exit 1; }; }
rm -rf "$root/include" "$lib" "$root/kernel" "$root/build"
mkdir -p "$lib" "$root/kernel" "$root/build/musl" "$root/build/bearssl"
ln -s $kernel/linux $kernel/asm-generic $asm "$root/kernel"

(cd "$root/build/musl" && quiet "$sources"/musl-*/configure --target=$triplet --prefix="$root" \
	--disable-shared --disable-wrapper --enable-optimize=size \
	CC="$triplet-gcc $flags" CROSS_COMPILE=$triplet- &&
	quiet make -j"$(nproc)" install-libs install-headers)
# musl's assert is a printf, floating point and all, of 8 KB.
cat > "$root/build/assert.c" <<'END'
#include <assert.h>
#include <signal.h>
#include <string.h>
#include <unistd.h>
void __assert_fail(const char *what, const char *file, int line, const char *function)
{
	const char *part[] = { file, ": ", function, ": assertion failed: ", what, "\n" };
	(void)line;
	for (int i = 0; i < 6; i++)
		(void)!write(2, part[i], strlen(part[i]));
	raise(SIGABRT);
	__builtin_trap();
}
END
# shellcheck disable=SC2086
(cd "$root/build" && $triplet-gcc -specs="$root/specs" $small -c -o assert.lo assert.c &&
	$triplet-ar rD "$lib/libc.a" assert.lo)
# shellcheck disable=SC2016,SC2046,SC2086
(cd "$root/build/bearssl" && quiet sh -c 'find "$1"/src -name "*.c" | sort |
	xargs -P "$(nproc)" -n 30 $2 -I "$1/src" -I "$1/inc" -c &&
	$3-ar Drcs "$4/libbearssl.a" *.o' sh "$(echo "$sources"/bearssl-*)" \
	"$triplet-gcc -specs=$root/specs $small" $triplet "$lib")
cp "$sources"/bearssl-*/inc/* "$root/include"
rm -r "$root/build"
