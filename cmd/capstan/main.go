// Command capstan backs up file trees into catalogued, verified sets.
package main

func main() {}
