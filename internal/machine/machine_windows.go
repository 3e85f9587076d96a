package machine

import (
	"errors"
	"strconv"
	"time"

	"golang.org/x/sys/windows"
	"golang.org/x/sys/windows/registry"
)

// bootIsUnique: bootID is a constant. That the boot is another one is seen from
// the processes: their start times are of the calendar, so none of an earlier
// boot is taken for one of this.
const bootIsUnique = false

func bootID() (string, error) { return "windows", nil }

// hardwareID is the id that the system was installed under.
func hardwareID() string {
	key, err := registry.OpenKey(registry.LOCAL_MACHINE, `SOFTWARE\Microsoft\Cryptography`, registry.QUERY_VALUE|registry.WOW64_64KEY)
	if err != nil {
		return ""
	}
	id, _, err := key.GetStringValue("MachineGuid")
	if errors.Join(err, key.Close()) != nil {
		return ""
	}
	return id
}

func space() string { return "" }

// Boot is the time since the machine booted, with the time that it slept
// (GetTickCount64).
func Boot() time.Duration { return windows.DurationSinceBoot() }

// stillActive is STILL_ACTIVE of GetExitCodeProcess.
const stillActive = 259

func look(pid int) (processState, string, error) {
	handle, err := windows.OpenProcess(windows.PROCESS_QUERY_LIMITED_INFORMATION, false, uint32(pid))
	if errors.Is(err, windows.ERROR_INVALID_PARAMETER) {
		return stateGone, "", nil
	}
	if err != nil {
		return stateAlive, "", err
	}
	var code uint32
	var created, exited, kernel, user windows.Filetime
	err = windows.GetExitCodeProcess(handle, &code)
	if err == nil {
		err = windows.GetProcessTimes(handle, &created, &exited, &kernel, &user)
	}
	if err = errors.Join(err, windows.CloseHandle(handle)); err != nil {
		return stateAlive, "", err
	}
	if code != stillActive {
		return stateGone, "", nil
	}
	return stateAlive, strconv.FormatInt(created.Nanoseconds(), 10), nil
}
