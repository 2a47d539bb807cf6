package cli

import (
	"bytes"
	"context"
	"errors"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"time"
)

// Exit codes of a shell and its commands.
const (
	// exitTemporary is the exit code of a command that should be run again until it
	// succeeds: EX_TEMPFAIL of sysexits.h.
	exitTemporary = 75

	exitNoPermission = 126 // the shell found the command but may not run it
	exitNoCommand    = 127 // the shell did not find the command
)

const shell = "/bin/sh"

// once runs the command.
func (e *executor) once(ctx context.Context, batch []delivery) error {
	var in []byte
	for _, d := range batch {
		in = append(in, d.line...)
	}
	cmd := exec.CommandContext(ctx, shell, "-c", e.command) //nolint:gosec // it is the user's
	cmd.Stdin, cmd.Stdout, cmd.Stderr = bytes.NewReader(in), e.stdout, e.stderr
	cmd.Env = append(os.Environ(), "DICTWIRE_RECORDS="+strconv.Itoa(len(batch)), "DICTWIRE_FIRST="+batch[0].position)
	ownGroup(cmd)
	cmd.WaitDelay = time.Second
	return cmd.Run()
}

// unrunnable returns why a command can't run, whatever its input, or "" if it ran.
func unrunnable(err error) string {
	var exit *exec.ExitError
	switch {
	case !errors.As(err, &exit):
		if errors.Is(err, exec.ErrWaitDelay) { // it left its output to a background process
			return ""
		}
		return "it does not start"
	case exit.ExitCode() == exitNoCommand:
		return "there is no such command"
	case exit.ExitCode() == exitNoPermission:
		return "it is not executable"
	}
	return ""
}

// checkCommand makes the shell check the syntax of a command before the command gets any
// input.
func checkCommand(ctx context.Context, command string) error {
	out, err := exec.CommandContext(ctx, shell, "-n", "-c", command).CombinedOutput() //nolint:gosec // it is the user's
	if err == nil {
		return nil
	}
	if text := strings.TrimSpace(string(out)); text != "" {
		err = errors.New(text)
	}
	return usagef("--exec: %w", err)
}
