package lease

import "container/list"

// A line is a queue in which hosts take turns, so that a host with hundreds of entries
// does not make others wait for longer.
type line[T any] struct {
	hosts map[*Host]*list.Element // in ring
	ring  list.List               // of *waiting[T], the next one first
}

// A waiting is the queue of one host.
type waiting[T any] struct {
	host *Host
	line list.List // of T; not empty
}

// A place is an entry's place in a line.
type place struct {
	host *Host
	e    *list.Element
}

// push adds an entry to the end of a host's queue.
func (l *line[T]) push(h *Host, who T) place {
	if l.hosts == nil {
		l.hosts = map[*Host]*list.Element{}
	}
	e := l.hosts[h]
	if e == nil {
		e = l.ring.PushBack(&waiting[T]{host: h})
		l.hosts[h] = e
	}
	return place{h, e.Value.(*waiting[T]).line.PushBack(who)}
}

// first returns the next entry, or false if the line is empty.
func (l *line[T]) first() (who T, ok bool) {
	e := l.ring.Front()
	if e == nil {
		return who, false
	}
	return e.Value.(*waiting[T]).line.Front().Value.(T), true
}

// pop removes the next entry. Then it is the next host's turn.
func (l *line[T]) pop() (who T, ok bool) {
	e := l.ring.Front()
	if e == nil {
		return who, false
	}
	w := e.Value.(*waiting[T])
	f := w.line.Front()
	l.remove(place{w.host, f})
	if l.hosts[w.host] != nil {
		l.ring.MoveToBack(e)
	}
	return f.Value.(T), true
}

// remove removes an entry that gives up.
func (l *line[T]) remove(p place) {
	e := l.hosts[p.host]
	w := e.Value.(*waiting[T])
	w.line.Remove(p.e)
	if w.line.Len() == 0 {
		l.ring.Remove(e)
		delete(l.hosts, p.host)
	}
}

// isEmpty reports whether the line is empty.
func (l *line[T]) isEmpty() bool { return l.ring.Len() == 0 }
