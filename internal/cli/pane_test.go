package cli_test

import (
	"fmt"
	"os"
	"os/exec"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
)

// These script commands run programs in a terminal, which is tmux, and compare what a user
// sees. Each script has one terminal at a time.

// paneConf configures the terminal.
const paneConf = `
set -g default-terminal tmux-256color
set -g remain-on-exit on
set -g remain-on-exit-format ''
set -g history-limit 5000
set -g status off
set -g escape-time 0
`

// tmux runs a tmux command, and returns its output.
func tmux(ts *testscript.TestScript, args ...string) string {
	out, err := exec.Command("tmux", append([]string{"-u", "-S", ts.Getenv("PANE")}, args...)...).CombinedOutput()
	if err != nil {
		ts.Fatalf("tmux %v: %v: %s", args, err, out)
	}
	return string(out)
}

// size parses a size such as 80x24.
func size(ts *testscript.TestScript, s string) (width, height string) {
	width, height, ok := strings.Cut(s, "x")
	if _, err := strconv.Atoi(width); err != nil || !ok {
		ts.Fatalf("want a size as 80x24, got %q", s)
	}
	return width, height
}

// pane WIDTHxHEIGHT COMMAND starts a shell command in a terminal.
func pane(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: pane WIDTHxHEIGHT COMMAND")
	}
	width, height := size(ts, args[0])
	conf := ts.MkAbs(".tmux.conf")
	ts.Check(os.WriteFile(conf, []byte(paneConf), 0o600))
	last := ts.Getenv("PANE")
	end := func() { _ = exec.Command("tmux", "-S", ts.Getenv("PANE"), "kill-server").Run() }
	if last == "" {
		ts.Defer(end)
	} else {
		end()
	}
	// The previous command must not be taken for the next one.
	sock := ts.MkAbs(fmt.Sprint(".tmux", time.Now().UnixNano()))
	ts.Setenv("PANE", sock)
	ts.Check(ts.Exec("tmux", "-u", "-S", sock, "-f", conf, "new-session", "-d", "-x", width, "-y", height, "("+args[1]+"); echo $? >"+sock+".code"))
}

// resize WIDTHxHEIGHT resizes the terminal.
func resize(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: resize WIDTHxHEIGHT")
	}
	width, height := size(ts, args[0])
	tmux(ts, "resize-window", "-x", width, "-y", height)
}

// press KEY… presses keys, by their tmux names.
func press(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) == 0 {
		ts.Fatalf("usage: press KEY…")
	}
	tmux(ts, append([]string{"send-keys", "--"}, args...)...)
}

// shows REGEXP waits until the content of the terminal matches.
func shows(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: shows REGEXP")
	}
	want, err := regexp.Compile("(?m)" + args[0])
	ts.Check(err)
	look(ts, want.MatchString)
}

// ends [CODE] waits until the command in the terminal has exited, with 0 or another code.
// The content of the terminal is in the file screen; in joined, with wrapped lines joined;
// and in colored, with its colours.
func ends(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) > 1 {
		ts.Fatalf("usage: ends [CODE]")
	}
	want := append(args, "0")[0]
	deadline := time.Now().Add(paneTime)
	for { // the output is complete once the pane is dead; tmux does not always know the code
		dead := strings.TrimSpace(tmux(ts, "list-panes", "-F", "#{pane_dead}")) == "1"
		code, _ := os.ReadFile(ts.Getenv("PANE") + ".code")
		switch got := strings.TrimSpace(string(code)); {
		case dead && got == want:
		case dead && got != "" || time.Now().After(deadline):
			ts.Fatalf("exit code %q, want %s; it shows\n%s", got, want, capture(ts)["screen"])
		default:
			time.Sleep(paneLook)
			continue
		}
		break
	}
	look(ts, func(string) bool { return true })
}

const (
	paneTime = 20 * time.Second      // for the expected content to appear
	paneLook = 50 * time.Millisecond // between two checks
)

// look waits for the expected content of the terminal, and writes the files.
func look(ts *testscript.TestScript, want func(string) bool) {
	deadline := time.Now().Add(paneTime)
	for {
		shown := capture(ts)
		if want(shown["screen"]) {
			for name, text := range shown {
				ts.Check(os.WriteFile(ts.MkAbs(name), []byte(text), 0o600))
			}
			return
		}
		if time.Now().After(deadline) {
			ts.Fatalf("that never comes:\n%s", shown["screen"])
		}
		time.Sleep(paneLook)
	}
}

// capture returns the content of the terminal at one moment, including the scrollback, without
// trailing spaces: for each of the files, as ends says.
func capture(ts *testscript.TestScript) map[string]string {
	const end = "=== the end of a capture ==="
	files := [...]string{"screen", "joined", "colored"}
	var args []string // one call of tmux, within which the terminal does not change
	for i, how := range [...]string{"", "-J", "-e"} {
		if i > 0 {
			args = append(args, ";", "display-message", "-p", end, ";")
		}
		args = append(args, "capture-pane", "-p", "-S", "-")
		if how != "" {
			args = append(args, how)
		}
	}
	shown := map[string]string{}
	for i, text := range strings.Split(tmux(ts, args...), end+"\n") {
		var lines []string
		for line := range strings.Lines(text) {
			lines = append(lines, strings.TrimRight(line, " \n"))
		}
		shown[files[i]] = strings.TrimRight(strings.Join(lines, "\n"), "\n") + "\n"
	}
	return shown
}

// guide FILE plays the transcripts of a page: the lines after each command, which begins
// with "$ ", are its output in a terminal of 80 columns, where … matches anything.
func guide(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: guide FILE")
	}
	page, err := os.ReadFile(args[0]) // the file is in the repository, not in the script
	ts.Check(err)
	played := 0
	for _, block := range regexp.MustCompile("(?ms)^```\n(\\$ .*?)^```$").FindAllStringSubmatch(string(page), -1) {
		for _, command := range strings.Split(block[1], "$ ")[1:] {
			command, want, _ := strings.Cut(command, "\n")
			pane(ts, false, []string{"80x24", command})
			ends(ts, false, nil)
			pattern := "^" + strings.ReplaceAll(regexp.QuoteMeta(want), "…", ".*") + "$"
			if got := ts.ReadFile("screen"); !regexp.MustCompile(pattern).MatchString(got) {
				ts.Fatalf("%s: %s shows\n%s\nwant\n%s", args[0], command, got, want)
			}
			played++
		}
	}
	if played < 5 {
		ts.Fatalf("%s: %d commands", args[0], played)
	}
}
