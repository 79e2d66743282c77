// Command bare does nothing: the memory of a worker in Go is compared with its own.
package main

import "time"

func main() { time.Sleep(time.Hour) }
