/* tls_pem.h - certificates and keys for tests of TLS, made with openssl(1) for these alone: they are no
 * secrets, and nobody else believes them. Each is signed by itself and valid from 2026 to 2126. */

#ifndef TLS_PEM_H
#define TLS_PEM_H

#include <bearssl.h>
#include <fcntl.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

struct pem {
	const char *cert, *key;
};

/* RSA with 2048 bits; PKCS#8. */
static const struct pem pem_rsa = {
	"-----BEGIN CERTIFICATE-----\n"
	"MIIDCTCCAfGgAwIBAgIUGy6+Td5F/EvLxtj5EpYDKE8VPKswDQYJKoZIhvcNAQEL\n"
	"BQAwEzERMA8GA1UEAwwIcnNhLnRlc3QwIBcNMjYxMTIyMTkyNTA0WhgPMjEyNjEw\n"
	"MjkxOTI1MDRaMBMxETAPBgNVBAMMCHJzYS50ZXN0MIIBIjANBgkqhkiG9w0BAQEF\n"
	"AAOCAQ8AMIIBCgKCAQEAo2Iugw9ue59O+a5ow4dh70Aql3TXc1BeivHt3bwxcyS0\n"
	"F2Pr5B/8NqNPCeDO6gpwmR6mXhI3wZf3btA0qQfGQW/Jxw6864ukHa0GmyKv1zYM\n"
	"nfEf6gzeHRXtlfAzfS3J6465XEiEccvDBRK78OFJuMqwwUfXovkjN4N0tmtDN0Le\n"
	"bGDvyz3EOX+whiMH6YCqIs8mwdT57NDaA4IP0+O8v8tKtnavAQ8W6ra1FDD2H78C\n"
	"L1UmIcwnnb+78fMut3g7ct8Wp7J4+TnmrUUFDJVpg2JrFzYIm+1iFkxUz3VEjr0p\n"
	"frcHVGgNB1wpJMvLEa+ZyJ/X7jH4Yk07yKDxFwydcQIDAQABo1MwUTAdBgNVHQ4E\n"
	"FgQU0Jc24bVLBW3+ubs6yULWh3xVm4AwHwYDVR0jBBgwFoAU0Jc24bVLBW3+ubs6\n"
	"yULWh3xVm4AwDwYDVR0TAQH/BAUwAwEB/zANBgkqhkiG9w0BAQsFAAOCAQEAlMui\n"
	"KQsyL3uydWDARwspnTQYpGBWg7TwcnJlqodnCvIrKDjmN2lyku/RCBJOEhvQJqMS\n"
	"bNLMchMikza4YW+Vq34xaHVzB8v2B0wrdu8vvvkjIU4mrgbmyHDvvZXbgbw8iD3H\n"
	"CRo/BJohdBNcpy2ra9AIA62qluZSLxIutRkMO0/bR6SjjU7WZkuTrupQFUcLPgOu\n"
	"G+94+GaG25TW/U6jzMw1Mv+p0x02uTGRh+iX0Due7jVNx+031J16lQDZEXfhxiCR\n"
	"ZXWxwfgnWx657yYaFtQSQBZsQVbug1nrSrT2mKSscdXeoAO2Gd9LwRWSP6g9uXEk\n"
	"/nTWohdfBxV1kyxDbw==\n"
	"-----END CERTIFICATE-----\n",
	"-----BEGIN PRIVATE KEY-----\n"
	"MIIEvQIBADANBgkqhkiG9w0BAQEFAASCBKcwggSjAgEAAoIBAQCjYi6DD257n075\n"
	"rmjDh2HvQCqXdNdzUF6K8e3dvDFzJLQXY+vkH/w2o08J4M7qCnCZHqZeEjfBl/du\n"
	"0DSpB8ZBb8nHDrzri6QdrQabIq/XNgyd8R/qDN4dFe2V8DN9LcnrjrlcSIRxy8MF\n"
	"Ervw4Um4yrDBR9ei+SM3g3S2a0M3Qt5sYO/LPcQ5f7CGIwfpgKoizybB1Pns0NoD\n"
	"gg/T47y/y0q2dq8BDxbqtrUUMPYfvwIvVSYhzCedv7vx8y63eDty3xansnj5Oeat\n"
	"RQUMlWmDYmsXNgib7WIWTFTPdUSOvSl+twdUaA0HXCkky8sRr5nIn9fuMfhiTTvI\n"
	"oPEXDJ1xAgMBAAECggEAAVuA+GzJ5bQKo29sBmfbC/JUCEMbwSUDTBM7fzKflI3T\n"
	"Azi8zn3nigqsTvAzt+UTT2peRnzPQsgA8cZAEcFzR7rmicVZE3nrCKYV3ncYz+hu\n"
	"jWdh9P9bXxF+EldXDiyxt0fNyXL+yrU/Lw0bS6KLisIAWvK+W2fHf6ATeaqFefGM\n"
	"XSXFZTFCiRsprR9mnJ1jsHY0dIHmEI98hbyzGBuzFRknSJGOiyeWuB7n9rG1Tvwn\n"
	"z7s1GrHbwvsSfu7HDZyzHNd060j8mTP0rEsTgespNirj+xpkHw9zvjnlfq3Dnj8N\n"
	"CBSwUVlkSsWGZIBY3Pcc+fnzhFTUhY/kLa+uk/JAoQKBgQDknLnCm729NOGXHoHc\n"
	"61CuzDga7yS6QtwdVIcP/eyitxwS535rGugQ2rnB688ykgrXXCTJaSpftBHXelHD\n"
	"J7dWTteeYtWOOuAXdyErXTH35Z8oIMsOSS6tetOMyFPeBku6MuwMPcUduKAwKIjl\n"
	"k9d4yGrgSgNYLmbccsRqdlVLqQKBgQC29PeNla+kHPjxEn68f7cCObmkSfEYqP3d\n"
	"uXRhA26qs7XbFVVNrELSe1wd5RGZ2pdZMEVciDkxEXxNT029L3zaEpnNBLse13qL\n"
	"KCc8L21BgYFetGvQCDDPjrZElXdMq2PnmBb1bcB8+5pHfTTbAFLd9iHt3snYrBDO\n"
	"9gPlEaIgiQKBgQCxY99MX5bCCxeFMHnqF3n6uKJMXAYutZSg+ab3xLvqopUZIiHZ\n"
	"L/6knWQIUlbrUaEx7ODqnDzyGALEJbjt6pJ7WSA8WUqGW67o5lqJkH4mcjmmZJPL\n"
	"WQPsPuOKWSOio1X9fGfnM8MRReKem8VmBurqYPF1aljgAtlz82XvijSzSQKBgF+i\n"
	"QvhmYw5E+reAtHCxzabDJ8/But3qD/FjbHr9gU6Ha6reRt24CqHdS7RwtbeXdH9x\n"
	"ZQBOUJ7ehfwfVQJsHTYcfPqW23zuo6az0XZ7T//qwwYPB0AR1/nWnl3RRy/zcuBv\n"
	"NqkJupFaLzXpM8S6MZbGfsvJJfc1Uf/sxvJpOjcJAoGALItfjgcFjuAuthbUYNTW\n"
	"P0GRHICtbtxnMIGJiaH1rEKsyQbC/JSperYhVYLjpxALPqMg0jnN9AFeB9RS/0iD\n"
	"+t3WLHXntgkWtB6iCEqAWMGfLXV3fciahstn1o4SyaSdyHPU7qeVjHQROGXMcsKV\n"
	"8Mr9W76+vvnc5DkClbZp1Oo=\n"
	"-----END PRIVATE KEY-----\n"
};

/* P-256; the traditional form. */
static const struct pem pem_p256 = {
	"-----BEGIN CERTIFICATE-----\n"
	"MIIBfzCCASWgAwIBAgIUHI81sJv9uS0qu7HcTx7R8BOjqlIwCgYIKoZIzj0EAwIw\n"
	"FDESMBAGA1UEAwwJcDI1Ni50ZXN0MCAXDTI2MTEyMjE5MjUwNFoYDzIxMjYxMDI5\n"
	"MTkyNTA0WjAUMRIwEAYDVQQDDAlwMjU2LnRlc3QwWTATBgcqhkjOPQIBBggqhkjO\n"
	"PQMBBwNCAASuuFwb1wPYm/mZUMIRrhZRIW+HWrffbR4gH0VTTJV18fgfHsuKXC5P\n"
	"MG5wFLEEp7tPOA4rDJk40jvu7F23PVaWo1MwUTAdBgNVHQ4EFgQU38r8dsGWDD7v\n"
	"O+OROduNyxiX9p0wHwYDVR0jBBgwFoAU38r8dsGWDD7vO+OROduNyxiX9p0wDwYD\n"
	"VR0TAQH/BAUwAwEB/zAKBggqhkjOPQQDAgNIADBFAiAxkkrlETEUi2xsko/YYWlL\n"
	"YRaRHlZuxXy9Rg/AyJ/wqwIhANfdT107x1ibPgOqC/p3oV9WcD7EnE+WFbkcr3dP\n"
	"0n/1\n"
	"-----END CERTIFICATE-----\n",
	"-----BEGIN EC PRIVATE KEY-----\n"
	"MHcCAQEEIMQhXP3iw7GYmHJ4RjUAgWnj85GaG47guIAspcWRRvTOoAoGCCqGSM49\n"
	"AwEHoUQDQgAErrhcG9cD2Jv5mVDCEa4WUSFvh1q3320eIB9FU0yVdfH4Hx7Lilwu\n"
	"TzBucBSxBKe7TzgOKwyZONI77uxdtz1Wlg==\n"
	"-----END EC PRIVATE KEY-----\n"
};

/* P-384; PKCS#8. */
static const struct pem pem_p384 = {
	"-----BEGIN CERTIFICATE-----\n"
	"MIIBvDCCAUKgAwIBAgIUUmDgetXFL3eqhxQHED2Rwel6XBswCgYIKoZIzj0EAwIw\n"
	"FDESMBAGA1UEAwwJcDM4NC50ZXN0MCAXDTI2MTEyMjE5MjUwNFoYDzIxMjYxMDI5\n"
	"MTkyNTA0WjAUMRIwEAYDVQQDDAlwMzg0LnRlc3QwdjAQBgcqhkjOPQIBBgUrgQQA\n"
	"IgNiAAS3wtFbeGR57/35PK0Tv6htFQNXLTki1XRJWEAd9nLTMCv/Xn8prEr/qnBP\n"
	"i1k3AHHnRf17DRkNEh5FQ94ezrxi/WFdhvkUMUcgO9xzObN6hmNLfvygDCCMkAxY\n"
	"cyRuKtajUzBRMB0GA1UdDgQWBBSBf9d8741AzpoUwOrqubt+KmhPXTAfBgNVHSME\n"
	"GDAWgBSBf9d8741AzpoUwOrqubt+KmhPXTAPBgNVHRMBAf8EBTADAQH/MAoGCCqG\n"
	"SM49BAMCA2gAMGUCMFkm6ccrCgdDlUH6XX8dXfw6jMVGQ4Nwt0uTxNadEoMlPSfL\n"
	"PvS4SM0KetcEuimMxwIxAOROlN/7rUKZtAMWvfCkH6e2mFTSNqc0uj8lvTAJ4PoP\n"
	"+hsjy35iOUmJkhfbP2dZgg==\n"
	"-----END CERTIFICATE-----\n",
	"-----BEGIN PRIVATE KEY-----\n"
	"MIG2AgEAMBAGByqGSM49AgEGBSuBBAAiBIGeMIGbAgEBBDAWrF7H6wFzYQViJ3MX\n"
	"vYO0+VmRwxbGTVgAESplVY79HXQN0PJIvYfyBnSodsslrcuhZANiAAS3wtFbeGR5\n"
	"7/35PK0Tv6htFQNXLTki1XRJWEAd9nLTMCv/Xn8prEr/qnBPi1k3AHHnRf17DRkN\n"
	"Eh5FQ94ezrxi/WFdhvkUMUcgO9xzObN6hmNLfvygDCCMkAxYcyRuKtY=\n"
	"-----END PRIVATE KEY-----\n"
};

static void pem_append(void *arg, const void *p, size_t n)
{
	uint8_t **to = arg;

	memcpy(*to, p, n);
	*to += n;
}

/* The bytes of its first object; out has room for those of the certificates above. */
static inline size_t pem_der(uint8_t out[2048], const char *pem)
{
	br_pem_decoder_context d;
	uint8_t *to = out;
	int event = 0;

	br_pem_decoder_init(&d);
	while (event != BR_PEM_END_OBJ) {
		pem += br_pem_decoder_push(&d, pem, strlen(pem));
		event = br_pem_decoder_event(&d);
		if (event == BR_PEM_BEGIN_OBJ)
			br_pem_decoder_setdest(&d, pem_append, &to);
	}
	return (size_t)(to - out);
}

/* A file that has no name but this, until it is closed. */
static inline int pem_file(char path[32], const void *p, size_t n)
{
	const int fd = memfd_create("pem", MFD_CLOEXEC);

	if (fd < 0 || fchmod(fd, 0600) != 0 || write(fd, p, n) != (ssize_t)n)
		abort();
	snprintf(path, 32, "/proc/self/fd/%d", fd);
	return fd;
}

#endif
