// Package process is the one runner of child processes.
//
// A child can hang a program in many ways: it asks a question at the terminal, it
// ignores a signal, it leaves a grandchild behind that keeps its output open, or it
// writes without end. So every child here has a null stdin unless it is given one, a
// session of its own without a controlling terminal, a deadline if its caller sets
// one, and output that is captured within bounds or streamed.
//
// Use: Run for a command that ends by itself; Start, then Wait or Stop, for one that
// lives longer. Secrets belong into the environment or a file, never into Args, which
// every user of the machine can read.
//
// Ending: when the context ends, the timeout passes or Stop is called, the child's
// group gets SIGTERM, after the grace SIGKILL; what is left of the group when the
// child itself has ended gets SIGKILL at once. A child that ends by itself keeps the
// background processes that it started. On Linux a child also gets SIGTERM when this
// program dies. On Windows there is no SIGTERM: the child's group gets a Ctrl-Break,
// then its job is terminated with all that it holds.
//
// Blocking: Run and Wait block until the child has ended and its output is read.
// Once the child is dead they wait at most a second for the end of its output while
// nothing comes (a grandchild has it open), and for a child that even SIGKILL cannot
// end (it hangs in the kernel) no more than five seconds. The goroutines of such a
// child are left behind and end when it does.
package process
