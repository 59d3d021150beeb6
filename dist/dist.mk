# make deb    builds build/sluice-ws_VERSION_ARCH.deb (debhelper, dpkg-dev and libbearssl-dev)

DEB = build/deb/sluice-ws-$(VERSION)

deb:
	rm -rf build/deb
	mkdir -p $(DEB)
	cp -r $(wildcard Makefile *.mk) LICENSE README.md sluice.1 src page dist $(DEB)
	cp -r dist/debian $(DEB)
	cd $(DEB) && dpkg-buildpackage -b -us -uc
	cp build/deb/sluice-ws_*.deb build

.PHONY: deb
