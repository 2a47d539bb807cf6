package lease

import "container/list"

// A line is who waits, by their hosts.
type line struct {
	hosts map[*Host]*list.Element // in ring
	ring  list.List               // of *waiting, whose turn it is first
}

// waiting is who waits of one host, who came first first.
type waiting struct {
	host  *Host
	turns list.List // of *Turn; not empty
}

func (l *line) push(t *Turn) {
	if l.hosts == nil {
		l.hosts = map[*Host]*list.Element{}
	}
	e := l.hosts[t.host]
	if e == nil {
		e = l.ring.PushBack(&waiting{host: t.host})
		l.hosts[t.host] = e
	}
	t.place = e.Value.(*waiting).turns.PushBack(t)
}

// pop returns the next one, or nil.
func (l *line) pop() *Turn {
	e := l.ring.Front()
	if e == nil {
		return nil
	}
	t := e.Value.(*waiting).turns.Front().Value.(*Turn)
	l.remove(t)
	if l.hosts[t.host] != nil {
		l.ring.MoveToBack(e)
	}
	return t
}

func (l *line) remove(t *Turn) {
	e := l.hosts[t.host]
	w := e.Value.(*waiting)
	w.turns.Remove(t.place)
	t.place = nil
	if w.turns.Len() == 0 {
		l.ring.Remove(e)
		delete(l.hosts, t.host)
	}
}
