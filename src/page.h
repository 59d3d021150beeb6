/* page.h - the built-in page, compiled in from page/index.html. */

#ifndef PAGE_H
#define PAGE_H

#include <stddef.h>
#include <stdint.h>

extern const uint8_t page[];
extern const size_t page_len;

#endif
