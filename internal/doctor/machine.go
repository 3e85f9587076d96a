package doctor

import (
	"context"
	"fmt"
	"runtime"
	"strings"
	"time"

	"capstan/internal/config"
	"capstan/internal/process"
)

func memory(_ context.Context, found func(Finding)) {
	budget := config.DefaultMemory()
	limit, limited := config.CgroupLimit()
	detail := fmt.Sprintf("no control group limit; a run uses up to %s for buffers; %d processors", budget, runtime.GOMAXPROCS(0))
	if limited {
		detail = fmt.Sprintf("control group limit %s; a run uses up to %s for buffers; %d processors", limit, budget, runtime.GOMAXPROCS(0))
	}
	if limited && limit < 4*budget {
		found(Finding{"memory", Warning, detail, "give the group 128 MiB or more, or lower --memory"})
		return
	}
	found(Finding{"memory", Good, detail, ""})
}

// minOpenFiles is what a backup may need: files open ahead of the packer, the
// catalog, the volume.
const minOpenFiles = 512

func openFiles(_ context.Context, found func(Finding)) {
	limit, known := openFileLimit()
	switch {
	case !known:
	case limit < minOpenFiles:
		found(Finding{"open files", Warning, fmt.Sprintf("at most %d", limit), fmt.Sprintf("allow %d: ulimit -n", minOpenFiles)})
	default:
		found(Finding{"open files", Good, fmt.Sprintf("at most %d", limit), ""})
	}
}

// stockTools are what RESTORE.txt tells a person to use.
var stockTools = []struct{ name, purpose string }{ //nolint:gochecknoglobals // a table
	{"tar", "unpacks archives"},
	{"zstd", "unpacks .tar.zst archives"},
	{"gzip", "unpacks .tar.gz archives"},
	{"sha256sum", "checks SHA256SUMS"},
}

func tools(ctx context.Context, found func(Finding)) {
	for _, tool := range stockTools {
		result, err := process.Run(ctx, process.Command{Path: tool.name, Args: []string{"--version"}, Timeout: 5 * time.Second})
		if err != nil {
			found(Finding{
				"tool " + tool.name, Warning, "not found; Capstan itself does not need it",
				"install it where sets may have to be restored without Capstan: it " + tool.purpose,
			})
			continue
		}
		version, _, _ := strings.Cut(strings.TrimSpace(string(result.Stdout)), "\n")
		found(Finding{"tool " + tool.name, Good, version, ""})
	}
}
