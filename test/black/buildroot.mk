# As much of Buildroot as a package's makefile needs, for this machine. generic-package is expanded
# while the package's own file is read.
BR2_EXTERNAL_SLUICE_PATH = $(ROOT)/dist/buildroot
TARGET_CONFIGURE_OPTS = CC="cc" CFLAGS="-O0"
INSTALL = install
TARGET_DIR = $(OUT)/target

define generic-package
$(OUT)/build/.stamp:
	mkdir -p $$(@D) $$(TARGET_DIR)
	cd $$(SLUICE_SITE) && cp -r Makefile $$(notdir $$(wildcard $(ROOT)/*.mk)) LICENSE sluice.1 dist page src $$(@D)
	$$(SLUICE_BUILD_CMDS)
	$$(SLUICE_INSTALL_TARGET_CMDS)
	$$(SLUICE_INSTALL_INIT_$(INIT))
endef

include $(BR2_EXTERNAL_SLUICE_PATH)/external.mk
