// Package output is everything that a command says: results on stdout, messages
// and progress on stderr, and the log file.
//
// A terminal that nobody reads (Ctrl-S, a selection in a console window, a stopped
// pager, a dead connection) makes a write to it block for good. Work must never
// wait for that. So there are two kinds of output. Lossy: progress, messages, logs,
// run events; they go through Lossy, a bounded queue in front of one goroutine,
// which drops whole lines and counts them when nobody reads. Lossless: what a
// command is for (lists, contents, the summary); it goes through the same queue, in
// order, and its caller waits.
//
// Use: a command makes one Printer, calls Start around its work where it has
// progress to show, prints Results or one Summary, and closes the Printer last. The
// program calls KeepRunning once at its start, else a broken pipe kills it.
//
// Ordering: lines of one stream appear in the order in which they were handed over.
// Nothing orders stdout against stderr, except that Summary comes after the messages
// that were said before it, and after the progress view.
//
// Blocking: only Results, Summary and Close block. Results wait for their reader for
// ever or until the context ends. A Summary on a terminal, and Close, wait at most
// Options.Patience (one second) altogether: the work is done, and an unread terminal
// must not keep the command from ending. A goroutine that is stuck in a write is then
// left behind; it ends when its write does.
//
// Text for people never carries control characters of file names to a terminal; see
// Clean.
package output
