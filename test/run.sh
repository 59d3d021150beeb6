#!/bin/sh
# make check: build everything with warnings as errors, run every suite plain and under
# AddressSanitizer and UndefinedBehaviorSanitizer, and count. Says nothing of what passes.
#
# A suite ends with a line "NAME: N passed, N failed"; one that does not has failed, and so has one
# that counts nothing and does not say what it skipped.
set -u
cd "$(dirname "$0")/.."
make=${MAKE:-make}
fuzz_seconds=${FUZZ_SECONDS:-10}

sh test/setup.sh || { echo "0 passed, 1 failed"; exit 1; }

out=build/check
mkdir -p $out
passed=0 failed=0

# suite NAME COMMAND...: run it, quietly; add up what it counted.
suite() {
	name=$1
	shift
	"$@" > $out/log 2>&1
	status=$?
	counts=$(sed -n 's/^.*: \([0-9][0-9]*\) passed, \([0-9][0-9]*\) failed.*$/\1 \2/p' $out/log | tail -n 1)
	p=${counts% *} f=${counts#* }
	if [ -z "$counts" ] || { [ "$f" = 0 ] && { [ $status != 0 ] ||
	    { [ "$p" = 0 ] && ! grep -q skipped $out/log; }; }; }; then
		p=0 f=1
	fi
	passed=$((passed + p)) failed=$((failed + f))
	if [ "$f" != 0 ]; then
		echo "---- $name: $p passed, $f failed (status $status)"
		grep -E '^(===|not ok|FAILED)' $out/log
		tail -n 60 $out/log
	else
		grep 'skipped' $out/log | grep -v 'skipped 0'
	fi
}

# one COMMAND...: a suite of one test, its exit status.
one() {
	"$@" && echo "one: 1 passed, 0 failed"
}

unit=$(ls test/*_test.c | sed 's|.*/||; s|_test.c||')
fuzz=$(ls test/fuzz/*_fuzz.c | sed 's|.*/||; s|_fuzz.c||')
jobs=-j$(nproc)

build() {
	# shellcheck disable=SC2046
	$make -s $jobs WARN_ERROR=-Werror sluice build/plain/sluice build/asan/sluice build/notls/sluice build/plain/verify build/asan/verify \
		$(for u in $unit; do echo build/plain/${u}_test build/asan/${u}_test; done) \
		$(for f in $fuzz; do echo build/asan/${f}_replay build/fuzz/$f; done) 2>&1
}
suite "build with gcc" one build
suite "warnings of clang" one "$make" -s "$jobs" WARN_ERROR=-Werror warnings
[ $failed = 0 ] || { echo "$passed passed, $failed failed"; exit 1; }

for kind in plain asan; do
	for u in $unit; do
		suite "$kind ${u}_test" build/$kind/${u}_test
	done
done
for kind in plain asan; do
	suite "$kind wycheproof" /usr/bin/python3 test/wycheproof.py build/$kind/verify
done
for target in $fuzz; do
	suite "$target corpus" one build/asan/${target}_replay test/fuzz/corpus/$target
	mkdir -p build/corpus/$target
	suite "$target fuzz" one build/fuzz/$target -max_total_time="$fuzz_seconds" -timeout=10 \
		build/corpus/$target test/fuzz/corpus/$target
done
suite "constant time" sh test/ct.sh
for kind in plain asan; do
	suite "$kind black box" env SLUICE=build/$kind/sluice SLUICE_NOTLS=build/notls/sluice \
		/usr/bin/python3 test/black/run.py
	suite "$kind page" sh test/page.sh build/$kind/sluice
done
suite "black box without TLS" env SLUICE=build/notls/sluice /usr/bin/python3 test/black/run.py test_ws. test_conn.
suite "board" "$make" -s check-board
suite "armhf under qemu" "$make" -s check-qemu ARCH=armhf
suite "static binaries" "$make" -s check-static ARCH="mips x86_64"

echo "$passed passed, $failed failed"
[ $failed = 0 ]
