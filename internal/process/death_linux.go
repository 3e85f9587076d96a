package process

import "syscall"

// setDeathSignal lets the child end with the thread that started it, and so with
// this program, however that ends (prctl(2), PR_SET_PDEATHSIG).
func setDeathSignal(attributes *syscall.SysProcAttr) { attributes.Pdeathsig = syscall.SIGTERM }
