package engine

import "strconv"

// place is where a value stands in a request, such as items[3].events[0].name. It becomes a text
// only for who is told that something is wrong there.
type place struct {
	// nth item, and nth entry of a list in it, each from 1; 0 for none.
	item, entry int
	list        string
	// field is what follows: a name by itself, or with a dot before it.
	field string
}

func itemAt(i int) place { return place{item: i + 1} }

func fieldAt(name string) place { return place{field: name} }

// at answers the place of a field, with a dot before its name.
func (p place) at(field string) place {
	p.field += field
	return p
}

// in answers the place of an entry in a list of an item.
func (p place) in(list string, i int) place {
	p.list, p.entry = list, i+1
	return p
}

func (p place) String() string {
	var text string
	if p.item > 0 {
		text = "items[" + strconv.Itoa(p.item-1) + "]"
	}
	if p.entry > 0 {
		text += "." + p.list + "[" + strconv.Itoa(p.entry-1) + "]"
	}
	return text + p.field
}
