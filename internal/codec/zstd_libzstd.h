#include <stddef.h>

typedef struct ZSTD_CCtx_s capstan_zstd;

/* A context that compresses at a level of 1 to 19, or NULL. */
capstan_zstd *capstan_zstd_new(int level);
void capstan_zstd_free(capstan_zstd *context);

/* Makes one frame with its content's size and a checksum. More than room: an error. */
size_t capstan_zstd_compress(capstan_zstd *context, void *dst, size_t room, const void *src, size_t size);
const char *capstan_zstd_error(size_t code);
const char *capstan_zstd_version(void);
