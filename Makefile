# make          builds ./sluice; a C compiler and libc are all it needs
# make demo     builds it, streams this machine's load and prints a URL to open
# make check    installs what the tests need (it says what) and runs them
# make bench    measures speed and memory beside the least that a server can do
# make size     prints the size of the binary and its memory at rest

PREFIX   = /usr/local
CC      ?= cc
CFLAGS  ?= -O2
VERSION  = 0.1.0

# What clock_unset compares the clock with: SOURCE_DATE_EPOCH, the last commit, or this file.
BUILD_EPOCH := $(or $(SOURCE_DATE_EPOCH),$(shell git log -1 --format=%ct 2>/dev/null || date -r Makefile +%s))

HOUSE = -std=gnu11 -D_GNU_SOURCE -Isrc -DSLUICE_VERSION='"$(VERSION)"' -DBUILD_EPOCH=$(BUILD_EPOCH) \
	-Wall -Wextra -Wshadow -Wconversion -Wstrict-prototypes -Wmissing-prototypes -Wvla \
	-Wcast-qual -ffunction-sections -fdata-sections -fno-asynchronous-unwind-tables \
	-fstack-protector-strong -fPIE -MMD -MP
LINK  = -pie -Wl,--gc-sections -Wl,-z,relro,-z,now -Wl,--as-needed

ROOMS = admit b64 conn cut http hub json jwt key log main metrics net option page ring secret \
	sha1 sha256 source subject token used utf8 wheel why ws
BUILD = build/plain
OBJECTS = $(ROOMS:%=$(BUILD)/%.o)

all: sluice

sluice: $(BUILD)/sluice
	cp $< $@

$(BUILD)/sluice: $(OBJECTS)
	$(CC) $(HOUSE) $(CFLAGS) $(LDFLAGS) $(LINK) -o $@ $(OBJECTS) $(LDLIBS)

$(BUILD)/%.o: src/%.c Makefile | $(BUILD)
	$(CC) $(HOUSE) $(CPPFLAGS) $(CFLAGS) -c -o $@ $<

$(BUILD)/page.o: $(BUILD)/page.c
	$(CC) $(HOUSE) $(CPPFLAGS) $(CFLAGS) -c -o $@ $<

$(BUILD)/page.c: page/index.html | $(BUILD)
	{ echo '#include "page.h"'; echo 'const uint8_t page[] = {'; \
	od -An -v -tx1 $< | sed 's/ \(..\)/0x\1,/g'; \
	echo '};'; echo 'const size_t page_len = sizeof page;'; } > $@

$(BUILD):
	mkdir -p $@

-include $(OBJECTS:.o=.d)

.PHONY: all
