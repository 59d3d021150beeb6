# make static ARCH=A  builds build/static/A/sluice, one file that needs nothing where it runs:
#                     position-independent, linked with musl and BearSSL, stripped
# make release        builds all of them anew into build/release, with SHA256SUMS
# make check-static ARCH=A  looks at it, and runs the unit tests
# make check-qemu ARCH=A  runs the black-box suite against it, under qemu-user

ARCHES  = x86_64 aarch64 armhf armel mipsel mips
TRIPLET_x86_64  = x86_64-linux-gnu
TRIPLET_aarch64 = aarch64-linux-gnu
TRIPLET_armhf   = arm-linux-gnueabihf
TRIPLET_armel   = arm-linux-gnueabi
TRIPLET_mipsel  = mipsel-linux-gnu
TRIPLET_mips    = mips-linux-gnu

# A make of its own, whose compiler keeps to the sysroot; STATIC_GOAL may also be a unit test.
STATIC      = static/$(ARCH)$(if $(filter 0,$(TLS)),-notls)
STATIC_GOAL = sluice
static:
	@sh dist/sysroot.sh '$(ARCH)'
	@+$(MAKE) -s STATIC_MAKE=1 \
	CC='$(TRIPLET_$(ARCH))-gcc -specs=$(CURDIR)/build/sysroot/$(ARCH)/specs' CPPFLAGS= CFLAGS=-Os LDFLAGS= LDLIBS= \
	$(STATIC_GOAL:%=build/$(STATIC)/%)

ifdef STATIC_MAKE
# What relro would protect is not read-only in time: musl leaves that to a loader. Data begin
# where code ends, in a page of the file that is mapped twice; else there are up to 64 KB of
# padding between them.
STATIC_LINK = $(LINK) -Wl,-z,norelro,-z,common-page-size=16,--build-id=none -s
# What one caller has is inlined, whichever file it is in; the objects hold code too, to be looked at.
STATIC_FLAGS = $(BUILT) -fno-unwind-tables $(CFLAGS) -flto -flto-partition=none -ffat-lto-objects
ifeq ($(TLS),0)
$(eval $(call kind,$(STATIC),$(NOTLS) $(STATIC_FLAGS),$(STATIC_LINK),$(NOTLS_ROOMS),))
else
$(eval $(call kind,$(STATIC),$(STATIC_FLAGS),$(STATIC_LINK),$(ROOMS),$(BEARSSL)))
endif
$(ROOMS:%=build/$(STATIC)/%.o): build/sysroot/$(ARCH)/lib/libbearssl.a static.mk
endif

release:
	rm -rf build/static build/release
	@mkdir -p build/release
	@for a in $(ARCHES); do $(MAKE) -s static ARCH=$$a && \
	cp build/static/$$a/sluice build/release/sluice-$(VERSION)-$$a || exit 1; done
	cd build/release && sha256sum * > SHA256SUMS

check-static:
	@sh test/static.sh $(ARCH)

check-qemu: static
	@sh test/qemu.sh $(ARCH)

.PHONY: static release check-static check-qemu
