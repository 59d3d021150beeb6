# As much of OpenWrt's rules.mk and package.mk as a package's Makefile needs, for this machine.
PKG_BUILD_DIR = $(OUT)/build
INSTALL_DIR = install -d -m 755
INSTALL_BIN = install -m 755
INSTALL_CONF = install -m 600
CP = cp -fpR
TARGET_CC = cc
TARGET_CFLAGS = -O0
MAKE_FLAGS = CC="$(TARGET_CC)"
INCLUDE_DIR = $(TOPDIR)

define BuildPackage
  $(eval $(call Package/$(1)))
  $(if $(Package/$(1)/install),.PHONY: $(1)
$(1):
	$$(call Build/Prepare)
	CFLAGS="$(TARGET_CFLAGS)" $$(MAKE) -C $$(PKG_BUILD_DIR) $$(MAKE_FLAGS)
	$$(call Package/$(1)/install,$(OUT)/root)
  )
endef
