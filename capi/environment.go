package main

/*
#include <stdlib.h>
#include "shim.h"

extern char **environ;
*/
import "C"

import (
	"os"
	"strings"
	"sync"
	"unsafe"
)

func init() {
	C.shim_keep_build_info(C.CString(buildInfo(C.WF_ABI_VERSION)))
}

var adopting sync.Mutex

// adoptEnvironment brings Go's environment up to date. Go reads the one that the
// process was started with; what a host has set since then, by os.environ or
// process.env, would be missed without a word.
func adoptEnvironment() {
	adopting.Lock()
	defer adopting.Unlock()
	host := hostEnvironment()
	for _, pair := range os.Environ() {
		name, _, _ := strings.Cut(pair, "=")
		if _, found := host[name]; !found && isOurs(name) {
			_ = os.Unsetenv(name)
		}
	}
	for name, value := range host {
		if own, found := os.LookupEnv(name); !found || own != value {
			_ = os.Setenv(name, value) // only a name with = or NUL fails, and this one was cut at =
		}
	}
}

// hostEnvironment answers the variables of C that matter to the engine.
func hostEnvironment() map[string]string {
	found := map[string]string{}
	for at := C.environ; at != nil && *at != nil; at = (**C.char)(unsafe.Add(unsafe.Pointer(at), unsafe.Sizeof(*at))) {
		name, value, _ := strings.Cut(C.GoString(*at), "=")
		if _, twice := found[name]; !twice && isOurs(name) {
			found[name] = value
		}
	}
	return found
}

// isOurs says which variables the engine, pgx or the search for server binaries read.
func isOurs(name string) bool {
	switch name {
	case "PATH", "HOME", "TMPDIR":
		return true
	}
	return isSetting(name)
}

// isSetting says which variables may lead to another database or another behaviour.
func isSetting(name string) bool {
	return strings.HasPrefix(name, "WORKFLOWS_") || strings.HasPrefix(name, "PG")
}
