/* Functions that do not compile here, and what to use. Included by every .c through the compiler's -include. */
#ifndef FERRY_BASE_BANNED_H
#define FERRY_BASE_BANNED_H

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

/* macros of a fortified libc under clang; who calls them finds the poison, not the macro */
#undef sprintf
#undef vsprintf
#pragma GCC poison strcpy strcat sprintf vsprintf gets strncpy strtok gmtime localtime ctime asctime
/* use: snprintf, memcpy with a checked length, strtok_r, gmtime_r, clock_rfc3339 */

#endif
