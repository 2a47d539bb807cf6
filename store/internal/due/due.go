// Package due has a queue of things ordered by the time when they are due.
package due

import (
	"container/heap"
	"time"
)

// A Queue holds things by the time when they are due. The zero Queue is empty and ready
// to use, by one goroutine at a time.
type Queue[T any] struct{ items items[T] }

type item[T any] struct {
	at    time.Time
	value T
}

// Add adds a thing that is due at a time.
func (q *Queue[T]) Add(at time.Time, v T) { heap.Push(&q.items, item[T]{at, v}) }

// Take removes and returns the thing that has been due for the longest, if any is due.
func (q *Queue[T]) Take(now time.Time) (v T, ok bool) {
	if len(q.items) == 0 || q.items[0].at.After(now) {
		return v, false
	}
	return heap.Pop(&q.items).(item[T]).value, true
}

// Len returns the number of things in the queue.
func (q *Queue[T]) Len() int { return len(q.items) }

type items[T any] []item[T]

func (s items[T]) Len() int           { return len(s) }
func (s items[T]) Less(i, j int) bool { return s[i].at.Before(s[j].at) }
func (s items[T]) Swap(i, j int)      { s[i], s[j] = s[j], s[i] }
func (s *items[T]) Push(x any)        { *s = append(*s, x.(item[T])) }

func (s *items[T]) Pop() any {
	n := len(*s) - 1
	last := (*s)[n]
	(*s)[n] = item[T]{}
	*s = (*s)[:n]
	return last
}
