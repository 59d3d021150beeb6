# make          builds ./sluice; a C compiler, libc and BearSSL (libbearssl-dev) are all it needs;
#               TLS=0: without BearSSL, and so without TLS and all tokens but those of HS256
# make demo     builds it, streams this machine's load and prints a URL to open
# make check    installs what the tests need (it says what) and runs them
# make check-board  boots it on an emulated ARM board, where qemu-system-arm is
# make fuzz     runs each fuzz target for FUZZ_SECONDS (600) seconds
# make soak     an hour (SOAK_SECONDS) of clients that misbehave; SLUICE=FILE: of that one
# make bench    measures it beside the least that a server can do; PEERS=1: and beside others
# make size     prints the size of the binary, and of the static ones, and its memory at rest
# make deb      builds a Debian package in build/
# make static, release, check-static, check-qemu  are in static.mk
# make install  puts sluice and its manual page under DESTDIR and PREFIX

PREFIX   = /usr/local
CC      ?= cc
CFLAGS  ?= -Os
CLANG   ?= clang
VERSION  = 0.1.0
TLS      = 1

# What clock_unset compares the clock with: SOURCE_DATE_EPOCH, the last commit, or this file.
BUILD_EPOCH := $(or $(SOURCE_DATE_EPOCH),$(shell git log -1 --format=%ct 2>/dev/null || date -r Makefile +%s))

WARN  = -Wall -Wextra -Wshadow -Wconversion -Wstrict-prototypes -Wmissing-prototypes -Wvla \
	-Wcast-qual
HOUSE = -std=gnu11 -D_GNU_SOURCE -Isrc -DSLUICE_VERSION='"$(VERSION)"' \
	-DBUILD_EPOCH=$(BUILD_EPOCH) -DSLUICE_TLS=1 $(WARN) $(WARN_ERROR) -MMD -MP
BUILT = -ffunction-sections -fdata-sections -fno-asynchronous-unwind-tables \
	-fstack-protector-strong -fPIE
LINK  = -pie -Wl,--gc-sections -Wl,-z,relro,-z,now -Wl,-z,noseparate-code -Wl,--as-needed

# The archive, so that there is nothing to install where sluice runs.
BEARSSL = -l:libbearssl.a
SAN   = -O1 -g -fsanitize=address,undefined -fno-sanitize-recover=all -fno-omit-frame-pointer

ROOMS = admit arg b64 body cert conn cut der devlog explain file form grants http hub json jwt key keyfile keys log main metrics net notify \
	option page pem pk print proxy request ring sandbox secret send sha1 sha256 sha256_hw source subject talk text tls token \
	used utf8 v1 wheel why ws

# Each unit test links its own room and those below it, so that the link line proves the layers.
BELOW_sha256_hw = sha256_hw
BELOW_sha256 = sha256 sha256_hw
BELOW_sha256_portable = sha256
BELOW_sha1   = sha1
BELOW_b64    = b64
BELOW_utf8   = utf8
BELOW_json   = json utf8
BELOW_used   = used why
BELOW_subject = subject utf8
BELOW_wheel  = wheel
BELOW_cut    = cut
BELOW_ring   = ring
BELOW_hub    = hub ring subject utf8
BELOW_subs   = $(BELOW_hub)
BELOW_ws     = ws b64 sha1 utf8 why
BELOW_http   = http text ws b64 sha1 utf8 why
BELOW_body   = body $(BELOW_http)
BELOW_form   = form json text $(BELOW_ws)
BELOW_v1     = v1 json text $(BELOW_ws)
BELOW_grants = grants json subject utf8
BELOW_key    = key der pk grants json $(BELOW_sha256) subject utf8
BELOW_keyfile = keyfile pem b64 text $(BELOW_key)
BELOW_jwt    = jwt key der pk grants $(BELOW_sha256) json b64 subject utf8 why
BELOW_proxy  = proxy $(BELOW_http)
BELOW_der    = der
BELOW_tls    = cert pem pk der secret file $(BELOW_log)
BELOW_cert   = cert pem pk der file $(BELOW_log)
BELOW_sandbox = sandbox file $(BELOW_log)
BELOW_notify = notify $(BELOW_log)
BELOW_log    = log devlog text
BELOW_admit  = admit http text ws sha1 used $(BELOW_jwt)
UNITS = $(patsubst test/%_test.c,%,$(wildcard test/*_test.c))

BELOW_keys   = $(BELOW_keyfile)
comma := ,
BELOW_head   = $(BELOW_http)
BELOW_conn   = conn send request talk body form v1 hub ring wheel log devlog metrics net file proxy cert pem tls secret $(BELOW_admit)
LINK_conn    = $(patsubst %,-Wl$(comma)--wrap=hub_%,replay subscribe unsubscribe end skip)
FUZZERS = $(patsubst test/fuzz/%_fuzz.c,%,$(wildcard test/fuzz/*_fuzz.c))
TEST_HEADERS = $(wildcard test/*.h)
FUZZ_HEADERS = $(wildcard test/fuzz/*.h) $(TEST_HEADERS)
FUZZ_SECONDS ?= 600

# verify measures OpenSSL beside sluice, where libssl-dev is.
BENCHES = gen limit load start tokens $(if $(wildcard /usr/include/openssl/hmac.h),verify)
BELOW_tokens = b64 $(BELOW_sha256)
BELOW_verify = $(BELOW_jwt)
LIBS_verify  = $(BEARSSL) -lcrypto

all: sluice

sluice: build/$(if $(filter 0,$(TLS)),notls,plain)/sluice FORCE
	@cmp -s $< $@ || cp -f $< $@


# The same rules make it plain, under sanitizers, and without BearSSL: kind, flags of the compiler and
# the linker, rooms, archive.
define kind
build/$(1)/%.o: src/%.c Makefile | build/$(1)
	$(CC) $(HOUSE) $(CPPFLAGS) $(2) -c -o $$@ $$<
build/$(1)/page.o: build/page.c Makefile | build/$(1)
	$(CC) $(HOUSE) $(CPPFLAGS) $(2) -c -o $$@ $$<
build/$(1)/sluice: $(4:%=build/$(1)/%.o)
	$(CC) $(2) $(LDFLAGS) $(3) -o $$@ $(4:%=build/$(1)/%.o) $(5) $(LDLIBS)
build/$(1)/%_test: test/%_test.c $(TEST_HEADERS) $(4:%=build/$(1)/%.o)
	$(CC) $(HOUSE) -Itest $(2) $(3) -o $$@ $$< $$(BELOW_$$*:%=build/$(1)/%.o) $(5)
build/$(1)/verify: test/verify.c test/check.h $(4:%=build/$(1)/%.o)
	$(CC) $(HOUSE) -Itest $(2) $(3) -o $$@ $$< $(BELOW_jwt:%=build/$(1)/%.o) build/$(1)/keyfile.o \
	build/$(1)/pem.o build/$(1)/text.o $(5)
build/$(1)/%_replay: test/fuzz/%_fuzz.c test/fuzz/replay.c $(FUZZ_HEADERS) $(4:%=build/$(1)/%.o)
	$(CC) $(HOUSE) -Itest $(2) $(3) $$(LINK_$$*) -o $$@ $$< test/fuzz/replay.c \
	$$(BELOW_$$*:%=build/$(1)/%.o) $(5)
build/$(1): | $(if $(5),bearssl)
	mkdir -p $$@
-include $(4:%=build/$(1)/%.d)
endef

$(eval $(call kind,plain,$(BUILT) $(CFLAGS),$(LINK),$(ROOMS),$(BEARSSL)))
$(eval $(call kind,asan,$(SAN),,$(ROOMS),$(BEARSSL)))
NOTLS       = -USLUICE_TLS -DSLUICE_TLS=0
NOTLS_ROOMS = $(filter-out cert pem pk tls,$(ROOMS))
$(eval $(call kind,notls,$(NOTLS) $(BUILT) $(CFLAGS),$(LINK),$(NOTLS_ROOMS),))

bearssl:
	$(if $(shell echo '#include <bearssl.h>' | $(CC) $(CPPFLAGS) -E - >/dev/null 2>&1 && echo there),, \
	$(error sluice needs BearSSL: apt-get install libbearssl-dev))

build/fuzz/%: test/fuzz/%_fuzz.c $(FUZZ_HEADERS) $(ROOMS:%=build/asan/%.o)
	mkdir -p build/fuzz
	$(CLANG) $(HOUSE) -Itest -O1 -g -fsanitize=fuzzer,address,undefined \
	-fno-sanitize-recover=all $(LINK_$*) -o $@ $< \
	$(BELOW_$*:%=src/%.c) $(BEARSSL)

# Less its indentation, comments and line ends, and the spaces of its style and around the script's
# operators and braces, which its texts must not have: flash is dear.
STRIP = s/^[[:blank:]]*//; s|[[:blank:]]*/\*.*\*/||; \|^/\*|,\|\*/$$|d; \
	/<style>/,/<\/style>/s/ *\([{}:;,>]\) */\1/g; \
	/<script>/,$${s/ \([-+*=?:&|<>!]\{1,3\}\) /\1/g; s/ *{ */{/g; s/ *}/}/g;}; /^$$/d
JOIN  = -e :a -e '/[{};,]$$/{N;s/\n//;ba' -e '}'
build/page.c: page/index.html Makefile
	mkdir -p build
	{ echo '#include "page.h"'; echo 'const uint8_t page[] = {'; \
	sed '$(STRIP)' $< | sed $(JOIN) | od -An -v -tx1 | sed 's/ \(..\)/0x\1,/g'; \
	echo '};'; echo 'const size_t page_len = sizeof page;'; } > $@

build/bench/%: bench/%.c bench/line.h build/plain/sluice
	mkdir -p build/bench
	$(CC) -std=gnu11 -D_GNU_SOURCE -Isrc $(WARN) -O2 -o $@ $< \
	$(BELOW_$*:%=build/plain/%.o) $(LIBS_$*)

check:
	@sh test/run.sh

check-board:
	@/usr/bin/python3 test/board/boot.py

warnings: build/page.c
	@for f in $(ROOMS:%=src/%.c) test/*.c test/fuzz/*.c $(BENCHES:%=bench/%.c); do \
	[ $$f != src/page.c ] || f=build/page.c; \
	$(CLANG) $(filter-out -MMD -MP,$(HOUSE)) -Itest -fsyntax-only $$f || exit 1; done

demo:
	@sh demo/demo.sh

fuzz: $(FUZZERS:%=build/fuzz/%)
	@for f in $(FUZZERS); do mkdir -p build/corpus/$$f; \
	build/fuzz/$$f -max_total_time=$(FUZZ_SECONDS) build/corpus/$$f test/fuzz/corpus/$$f || exit 1; \
	done

soak: sluice
	@/usr/bin/python3 test/soak.py

bench: sluice $(BENCHES:%=build/bench/%)
	@/usr/bin/python3 bench/run.py $(if $(PEERS),--peers) $(BENCHFLAGS)

size: sluice
	@sh test/size.sh

install: sluice
	install -D -m 755 sluice $(DESTDIR)$(PREFIX)/bin/sluice
	install -D -m 644 sluice.1 $(DESTDIR)$(PREFIX)/share/man/man1/sluice.1

clean:
	rm -rf build sluice

include dist/dist.mk
include static.mk

.PHONY: FORCE all bearssl check check-board warnings demo fuzz soak bench size install clean
.SECONDARY:
