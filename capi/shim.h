/* What exports.go and shim.c say to each other, on top of workflows.h. */
#ifndef WORKFLOWS_SHIM_H
#define WORKFLOWS_SHIM_H

#include "../include/workflows.h"

/* cgo drops const, but not out of a typedef: with these the compiler checks the exports. */
typedef const char cchar_t;
typedef const void cvoid_t;

/* Keeps what wf_build_info answers. The text is never freed. */
void shim_keep_build_info(char *text);

#endif
