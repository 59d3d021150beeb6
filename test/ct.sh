#!/bin/sh
# No branch and no index depends on a secret: see ct.c. A control shows that the check can fail.
set -e
cc -std=gnu11 -O1 -g -Isrc -DSLUICE_TLS=1 -o build/check/ct test/ct.c src/key.c src/pk.c src/der.c src/sha256.c src/sha256_hw.c -l:libbearssl.a
valgrind -q --error-exitcode=1 build/check/ct
cc -std=gnu11 -O1 -g -Isrc -DSLUICE_TLS=1 -include test/leaky.h -o build/check/leaky \
	test/ct.c src/key.c src/pk.c src/der.c src/sha256.c src/sha256_hw.c -l:libbearssl.a
status=0
valgrind -q --error-exitcode=42 build/check/leaky >/dev/null 2>&1 || status=$?
if [ $status != 42 ]; then
	echo "a comparison that leaks was not noticed (status $status)"
	exit 1
fi
