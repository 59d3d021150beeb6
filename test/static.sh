#!/bin/sh
# make check-static: what a static binary must be, for each ARCH given: one file that asks for
# nothing, no floating point for mips, no larger than dist/sizes says, the same from another
# directory. Then the unit tests under qemu-user, where it is there.
set -u
cd "$(dirname "$0")/.."
make=${MAKE:-make}
passed=0 failed=0
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT

check() {	# WHAT COMMAND...: it succeeds
	what=$1
	shift
	if "$@"; then
		passed=$((passed + 1))
	else
		failed=$((failed + 1))
		echo "not ok: $arch: $what"
	fi
}

alone() {
	readelf -lWd "$1" > "$dir/elf" || return 1
	! grep -E 'INTERP|NEEDED|TEXTREL|RWE' "$dir/elf" && grep -q 'FLAGS_1.*PIE' "$dir/elf"
}

# Instructions of the unit, and calls of what does their work without one.
floats() {
	"$triplet-objdump" -d "$@" | grep -E -m 3 '	([a-z0-9]+\.[a-z.]+|[ls][wd]x?c1|m[tf]h?c1|c[tf]c1|bc1[a-z]+)	'
	in=$?
	"$triplet-nm" -u "$@" 2>/dev/null |
		grep -E -m 3 ' __((add|sub|mul|div|neg|eq|ne|lt|le|gt|ge|unord)[sd]f[23]|(float|fix)[a-z]*|extendsfdf2|truncdfsf2)$' ||
		return $in
}

no_floats() {
	echo 'double f(double a, long b) { return a * b; }' > "$dir/f.c"
	"$triplet-gcc" -c -o "$dir/hard.o" "$dir/f.c" && "$triplet-gcc" -msoft-float -c -o "$dir/soft.o" "$dir/f.c"
	floats "$dir/hard.o" > /dev/null && floats "$dir/soft.o" > /dev/null ||
		{ echo "what looks for floating point finds none"; return 1; }
	! floats "build/static/$arch"/[a-z]*.o build/sysroot/"$arch"/lib/libbearssl.a && ! floats "build/static/$arch/sluice"
}

# Of the same sources, musl's and BearSSL's among them, elsewhere.
same_elsewhere() {
	other=$dir/a/longer/path
	mkdir -p "$other/build" && cp -R Makefile static.mk dist src page "$other" && cp -R build/source "$other/build" || return 1
	"$make" -s -C "$other" static ARCH="$arch" > "$dir/log" 2>&1 || { tail "$dir/log"; return 1; }
	cmp "$other/build/static/$arch/sluice" "build/static/$arch/sluice"
}

owned() {
	now=$(wc -c < "build/static/$arch/sluice")
	was=$(sed -n "s/^$arch //p" dist/sizes)
	[ "$((now * 100))" -le "$((was * 102))" ] ||
		{ echo "$arch has $now bytes, dist/sizes says $was: own up to it there"; return 1; }
}

# KiB resident with defaults, and with little.
small_at_rest() {
	"$make" -s size | awk '/^static/ { on = 1 } on && /^at rest/ { n++; if ($3 >= (/--buffer/ ? 512 : 1024)) bad = 1 }
		END { exit bad || n != 2 }'
}

unit() {
	$run "build/static/$arch/$1" > "$dir/log" 2>&1 || { tail "$dir/log"; return 1; }
}

SOURCE_DATE_EPOCH=$(git log -1 --format=%ct 2>/dev/null || date -r Makefile +%s)
export SOURCE_DATE_EPOCH
for arch; do
	triplet=$(sed -n "s/^TRIPLET_$arch *= //p" static.mk)
	case $arch in armhf|armel) run=qemu-arm ;; *) run=qemu-$arch ;; esac
	units=$(ls test/*_test.c | sed 's|test/||; s|\.c||')
	# used_test wants atomics of 64 bits, which no mips of 32 has; wheel_test's seconds are no emulator's.
	case $arch in mips*) units=$(echo "$units" | grep -v '^used_test$') ;; esac
	[ "$arch" = "$(uname -m)" ] && run='' || units=$(echo "$units" | grep -v '^wheel_test$')
	rm -rf "build/static/$arch"
	"$make" -s static ARCH="$arch" STATIC_GOAL="sluice $(echo $units)" || { failed=$((failed + 1)); continue; }
	check "one file that asks for nothing" alone "build/static/$arch/sluice"
	case $arch in mips*) check "no floating point" no_floats ;; esac
	check "no larger than dist/sizes says" owned
	[ "$arch" != "$(uname -m)" ] || check "small at rest" small_at_rest
	check "the same bytes from another directory" same_elsewhere
	if [ -z "$run" ] || command -v "$run" >/dev/null; then
		for u in $units; do
			check "$u" unit "$u"
		done
	else
		echo "static: unit tests of $arch skipped: no $run here"
	fi
done
echo "static: $passed passed, $failed failed"
[ $failed = 0 ]
