// Package main prints the failpoints of the core, one a line: what stands between where
// and nth in WORKFLOWS_FAILPOINTS.
package main

import (
	"fmt"

	"github.com/libworkflows/libworkflows/core/store"
)

func main() {
	for _, point := range store.Points() {
		fmt.Println(point)
	}
}
