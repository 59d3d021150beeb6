/* cert.h - a certificate chain and its private key, from files in PEM (RFC 7468), as BearSSL wants them.
 *
 * Reads files, at start-up and on SIGHUP; takes no memory. What it reads of a key it wipes. */

#ifndef CERT_H
#define CERT_H

#include <bearssl.h>
#include <stddef.h>
#include <stdint.h>

#define CERT_CHAIN_MAX 8u	/* certificates; a usual chain has two or three */
#define CERT_BYTES 16384u	/* of them in DER: a chain is 2 to 5 KB */

/* Points into itself: it stays where it was read. */
struct cert {
	br_x509_certificate chain[CERT_CHAIN_MAX];	/* that of the key first */
	size_t  n;
	uint8_t der[CERT_BYTES];
	size_t  len;
	br_skey_decoder_context key;
};

/* NULL, or what is wrong, with *option "cert" or "key"; *c is then to be wiped. now_s: seconds since
 * 1970, or -1 where nobody knows. */
const char *cert_read(struct cert *c, const char *cert, const char *key, int64_t now_s,
    const char **option);

#endif
