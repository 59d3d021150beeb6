include $(BR2_EXTERNAL_SLUICE_PATH)/sluice/sluice.mk
