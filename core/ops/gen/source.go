package main

import (
	"fmt"
	"go/ast"
	"go/doc"
	"go/parser"
	"go/token"
	"io/fs"
	"path/filepath"
	"reflect"
	"strconv"
	"strings"
)

// source holds what reflection cannot see of a package: comments and constants.
type source struct {
	fields  map[string]string     // "Target.Reason" to its comment
	types   map[string]string     // "Target" to its comment
	methods map[string]string     // "Engine.Claim" to its comment
	values  map[string][]constant // "Status" to its constants, in order
	names   []constant            // every field and constant with what it is called in JSON
}

// constant is one value of an enumeration.
type constant struct {
	Name, Value, Doc string
}

// readSource reads a package's files, tests left out.
func readSource(dir, importPath string) (*source, error) {
	files, fset, err := parseDir(dir)
	if err != nil {
		return nil, err
	}
	p, err := doc.NewFromFiles(fset, files, importPath, doc.PreserveAST)
	if err != nil {
		return nil, fmt.Errorf("read the comments of %s: %w", dir, err)
	}
	s := &source{
		fields: map[string]string{}, types: map[string]string{}, methods: map[string]string{}, values: map[string][]constant{},
	}
	for _, t := range p.Types {
		s.readType(t)
	}
	return s, nil
}

func parseDir(dir string) ([]*ast.File, *token.FileSet, error) {
	paths, err := filepath.Glob(filepath.Join(dir, "*.go"))
	if err != nil {
		return nil, nil, err
	}
	fset := token.NewFileSet()
	var files []*ast.File
	for _, path := range paths {
		if strings.HasSuffix(path, "_test.go") {
			continue
		}
		file, err := parser.ParseFile(fset, path, nil, parser.ParseComments)
		if err != nil {
			return nil, nil, err
		}
		files = append(files, file)
	}
	if len(files) == 0 {
		return nil, nil, fmt.Errorf("%s: %w", dir, fs.ErrNotExist)
	}
	return files, fset, nil
}

func (s *source) readType(t *doc.Type) {
	s.types[t.Name] = t.Doc
	for _, m := range t.Methods {
		s.methods[t.Name+"."+m.Name] = m.Doc
	}
	for _, group := range t.Consts {
		for _, spec := range group.Decl.Specs {
			s.readConstant(t.Name, spec.(*ast.ValueSpec))
		}
	}
	for _, spec := range t.Decl.Specs {
		if structure, ok := spec.(*ast.TypeSpec).Type.(*ast.StructType); ok {
			s.readFields(t.Name, structure)
		}
	}
}

func (s *source) readConstant(typeName string, spec *ast.ValueSpec) {
	if len(spec.Values) != 1 {
		return
	}
	literal, ok := spec.Values[0].(*ast.BasicLit)
	if !ok || literal.Kind != token.STRING {
		return
	}
	value, err := strconv.Unquote(literal.Value)
	if err != nil {
		return
	}
	c := constant{spec.Names[0].Name, value, remark(spec.Doc, spec.Comment)}
	s.values[typeName] = append(s.values[typeName], c)
	s.names = append(s.names, c)
}

func (s *source) readFields(typeName string, structure *ast.StructType) {
	for _, field := range structure.Fields.List {
		for _, name := range field.Names {
			s.fields[typeName+"."+name.Name] = remark(field.Doc, field.Comment)
			s.names = append(s.names, constant{Name: name.Name, Value: taggedName(field.Tag)})
		}
	}
}

// taggedName answers the name in a field's json tag.
func taggedName(tag *ast.BasicLit) string {
	if tag == nil {
		return ""
	}
	name, _, _ := strings.Cut(reflect.StructTag(strings.Trim(tag.Value, "`")).Get("json"), ",")
	return name
}

// remark answers the comment above, or else the one beside.
func remark(above, beside *ast.CommentGroup) string {
	if above != nil {
		return strings.TrimSpace(above.Text())
	}
	return strings.TrimSpace(beside.Text())
}

// sourceName is the name under which a type is declared: Result[...] is Result.
func sourceName(t reflect.Type) string {
	name, _, _ := strings.Cut(t.Name(), "[")
	return name
}
