//go:build cgo && ((linux && (amd64 || arm64)) || (darwin && (amd64 || arm64)) || (windows && amd64))

#include "zstd_libzstd.h"

/*
 * What is used of zstd.h, which the binding keeps in its own package: names, types
 * and numbers of the library's stable interface, and of one experimental parameter
 * as of 1.5 (ZSTD_c_literalCompressionMode). A number that the library does not
 * know makes capstan_zstd_new fail.
 */
capstan_zstd *ZSTD_createCCtx(void);
size_t ZSTD_freeCCtx(capstan_zstd *context);
size_t ZSTD_CCtx_setParameter(capstan_zstd *context, int parameter, int value);
size_t ZSTD_compress2(capstan_zstd *context, void *dst, size_t room, const void *src, size_t size);
unsigned ZSTD_isError(size_t code);
const char *ZSTD_getErrorName(size_t code);
const char *ZSTD_versionString(void);

enum {
	COMPRESSION_LEVEL = 100,
	WINDOW_LOG = 101,
	HASH_LOG = 102,
	TARGET_LENGTH = 106,
	CHECKSUM_FLAG = 201,
	LITERAL_COMPRESSION_MODE = 1002,
};

struct parameter { int name, value; };

/*
 * Level 1 for frames of 4 MiB: matches are sought in the whole frame, in a table
 * that fits into a core's first cache, at two of three places. Literals are
 * compressed although the library would not where places are skipped.
 */
static const struct parameter fastest[] = {
	{WINDOW_LOG, 22}, {HASH_LOG, 13}, {TARGET_LENGTH, 2}, {LITERAL_COMPRESSION_MODE, 1},
};

static int set(capstan_zstd *context, int name, int value)
{
	return !ZSTD_isError(ZSTD_CCtx_setParameter(context, name, value));
}

capstan_zstd *capstan_zstd_new(int level)
{
	capstan_zstd *context = ZSTD_createCCtx();
	if (!context) {
		return NULL;
	}
	int good = set(context, COMPRESSION_LEVEL, level) && set(context, CHECKSUM_FLAG, 1);
	for (size_t i = 0; level == 1 && i < sizeof fastest / sizeof *fastest; i++) {
		good = good && set(context, fastest[i].name, fastest[i].value);
	}
	if (!good) {
		ZSTD_freeCCtx(context);
		return NULL;
	}
	return context;
}

void capstan_zstd_free(capstan_zstd *context) { ZSTD_freeCCtx(context); }

size_t capstan_zstd_compress(capstan_zstd *context, void *dst, size_t room, const void *src, size_t size)
{
	return ZSTD_compress2(context, dst, room, src, size);
}

const char *capstan_zstd_error(size_t code) { return ZSTD_isError(code) ? ZSTD_getErrorName(code) : "no error"; }

const char *capstan_zstd_version(void) { return ZSTD_versionString(); }
