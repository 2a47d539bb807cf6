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

// These commands of scripts run programs in a terminal, which is tmux: what is compared is
// what a person sees there. Each script has one terminal at a time.

// paneConf is how the terminal is set up.
const paneConf = `
set -g default-terminal tmux-256color
set -g remain-on-exit on
set -g remain-on-exit-format ''
set -g history-limit 5000
set -g status off
set -g escape-time 0
`

// tmux runs a command of tmux, and returns what it prints.
func tmux(ts *testscript.TestScript, args ...string) string {
	out, err := exec.Command("tmux", append([]string{"-u", "-S", ts.Getenv("PANE")}, args...)...).CombinedOutput()
	if err != nil {
		ts.Fatalf("tmux %v: %v: %s", args, err, out)
	}
	return string(out)
}

// size reads a size as 80x24.
func size(ts *testscript.TestScript, s string) (width, height string) {
	width, height, ok := strings.Cut(s, "x")
	if _, err := strconv.Atoi(width); err != nil || !ok {
		ts.Fatalf("want a size as 80x24, got %q", s)
	}
	return width, height
}

// pane WIDTHxHEIGHT COMMAND begins to run a command of the shell in a terminal.
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
	// One that ends must not be taken for the next.
	sock := ts.MkAbs(fmt.Sprint(".tmux", time.Now().UnixNano()))
	ts.Setenv("PANE", sock)
	ts.Check(ts.Exec("tmux", "-u", "-S", sock, "-f", conf, "new-session", "-d", "-x", width, "-y", height, "("+args[1]+"); echo $? >"+sock+".code"))
}

// resize WIDTHxHEIGHT makes the terminal larger or smaller.
func resize(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: resize WIDTHxHEIGHT")
	}
	width, height := size(ts, args[0])
	tmux(ts, "resize-window", "-x", width, "-y", height)
}

// press KEY… presses keys, as tmux names them.
func press(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) == 0 {
		ts.Fatalf("usage: press KEY…")
	}
	tmux(ts, append([]string{"send-keys", "--"}, args...)...)
}

// shows REGEXP waits until the terminal shows something.
func shows(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: shows REGEXP")
	}
	want, err := regexp.Compile("(?m)" + args[0])
	ts.Check(err)
	look(ts, want.MatchString)
}

// ends [CODE] waits until the command of the terminal has ended, with 0 or another code.
// What is there is in the files screen; joined, where lines that were too long for the
// terminal are one; and colored, with the colours.
func ends(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) > 1 {
		ts.Fatalf("usage: ends [CODE]")
	}
	want := append(args, "0")[0]
	deadline := time.Now().Add(paneTime)
	for { // what was written is seen when the terminal is dead; tmux does not always know the code
		dead := strings.TrimSpace(tmux(ts, "list-panes", "-F", "#{pane_dead}")) == "1"
		code, _ := os.ReadFile(ts.Getenv("PANE") + ".code")
		switch got := strings.TrimSpace(string(code)); {
		case dead && got == want:
		case dead && got != "" || time.Now().After(deadline):
			ts.Fatalf("exit code %q, want %s; it shows\n%s", got, want, capture(ts))
		default:
			time.Sleep(paneLook)
			continue
		}
		break
	}
	look(ts, func(string) bool { return true })
}

const (
	paneTime = 20 * time.Second      // until what is waited for is there
	paneLook = 10 * time.Millisecond // between two looks
)

// look waits until what the terminal shows is what is wanted, and writes the files.
func look(ts *testscript.TestScript, want func(string) bool) {
	deadline := time.Now().Add(paneTime)
	for {
		text := capture(ts)
		if want(text) {
			ts.Check(os.WriteFile(ts.MkAbs("screen"), []byte(text), 0o600))
			ts.Check(os.WriteFile(ts.MkAbs("joined"), []byte(capture(ts, "-J")), 0o600))
			ts.Check(os.WriteFile(ts.MkAbs("colored"), []byte(capture(ts, "-e")), 0o600))
			return
		}
		if time.Now().After(deadline) {
			ts.Fatalf("that never comes:\n%s", text)
		}
		time.Sleep(paneLook)
	}
}

// capture returns what the terminal shows, and what it showed before, without spaces at the
// ends of lines.
func capture(ts *testscript.TestScript, how ...string) string {
	var lines []string
	for line := range strings.Lines(tmux(ts, append([]string{"capture-pane", "-p", "-S", "-"}, how...)...)) {
		lines = append(lines, strings.TrimRight(line, " \n"))
	}
	return strings.TrimRight(strings.Join(lines, "\n"), "\n") + "\n"
}

// guide FILE plays the transcripts of a page: the lines after each command that begins with
// "$ " are what it shows in a terminal of 80 columns, where … stands for anything.
func guide(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: guide FILE")
	}
	page, err := os.ReadFile(args[0]) // of the repository, not of the script
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
