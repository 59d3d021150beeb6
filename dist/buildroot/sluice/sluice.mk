################################################################################
#
# sluice
#
################################################################################

SLUICE_VERSION = 0.1.0
SLUICE_SITE = $(BR2_EXTERNAL_SLUICE_PATH)/../..
SLUICE_SITE_METHOD = local
SLUICE_LICENSE = MIT
SLUICE_LICENSE_FILES = LICENSE

# Buildroot's BearSSL is an archive, a shared library, or both, as the rest is.
ifeq ($(BR2_PACKAGE_SLUICE_TLS),y)
SLUICE_DEPENDENCIES = bearssl
SLUICE_MAKE_OPTS = TLS=1 BEARSSL=-lbearssl
else
SLUICE_MAKE_OPTS = TLS=0
endif

define SLUICE_BUILD_CMDS
	$(TARGET_MAKE_ENV) $(MAKE) $(TARGET_CONFIGURE_OPTS) $(SLUICE_MAKE_OPTS) -C $(@D) sluice
endef

define SLUICE_INSTALL_TARGET_CMDS
	$(INSTALL) -D -m 0755 $(@D)/sluice $(TARGET_DIR)/usr/bin/sluice
	$(INSTALL) -D -m 0644 $(@D)/dist/sluice.conf $(TARGET_DIR)/etc/sluice/conf
endef

# What systemd gives it otherwise.
define SLUICE_INSTALL_INIT_SYSV
	$(INSTALL) -D -m 0755 $(@D)/dist/S50sluice $(TARGET_DIR)/etc/init.d/S50sluice
	printf '\nsecret-file /etc/sluice/secret\nuser sluice\n' >> $(TARGET_DIR)/etc/sluice/conf
endef

define SLUICE_INSTALL_INIT_SYSTEMD
	$(INSTALL) -D -m 0644 $(@D)/dist/sluice.service $(TARGET_DIR)/usr/lib/systemd/system/sluice.service
	$(INSTALL) -D -m 0644 $(@D)/dist/sluice.socket $(TARGET_DIR)/usr/lib/systemd/system/sluice.socket
endef

define SLUICE_USERS
	sluice -1 sluice -1 * - - - Streams to WebSocket clients
endef

$(eval $(generic-package))
