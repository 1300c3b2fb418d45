//! Which route is the first that matches, without asking them all.
//!
//! Every route is put where a request that it can match is sure to look: under its exact path,
//! under the text that its path starts with (that of a prefix, or the literal start of a regex), or
//! with the rest. Where many share such a place they are told apart by the exact value, or else the
//! presence, of a header, query parameter, method or authority that they demand, regexes also by
//! a text that their path ends with or has inside, and many of the remaining ones by an automaton
//! that finds all of them that match.
//!
//! A request gathers the lists of its places. They are merged by the position of the routes, so
//! that the first match in order ends the search (VS-ORD-01). The rest of a route's conditions is
//! asked of the route itself: a place is a reason to ask, never an answer.

use std::borrow::Cow;
use std::cell::Cell;
use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap};
use std::ops::RangeInclusive;
use std::sync::Mutex;

use regex_automata::hybrid::dfa::{self, DFA};
use regex_automata::{Anchored, Input, MatchKind, PatternSet};

use super::literals::Literals;
use super::matcher::{self, RouteMatcher, StringMatcher};
use super::pattern::{self, Parsed};
use crate::request::Request;

/// From how many routes on a place is divided further. Below that, asking is cheaper.
const MANY: usize = 8;

/// From how many regexes on a place has automata for them.
const MANY_REGEXES: usize = 16;

/// Most regexes in one automaton. Its states are sets of what each regex has seen, and their number
/// grows faster than that of the regexes; where they don't fit into the cache, requests build them
/// again and again.
const SET_SIZE: usize = 32;

/// Lengths of a text inside that are worth looking for; of a longer one its end is looked for.
const INSIDE: RangeInclusive<usize> = 3..=16;

/// What an automaton may remember, in bytes, and for each of its regexes.
const SET_CACHE: usize = 64 << 10;
const SET_CACHE_EACH: usize = 2 << 10;

/// The places of the routes of one virtual host.
#[derive(Debug)]
pub(super) struct Index {
    exact: Literals<Place>,
    exact_folded: Literals<Place>,
    prefix: Literals<Place>,
    prefix_folded: Literals<Place>,
    /// Routes for which a character outside ASCII can stand for a letter of their literal start;
    /// asked where the path has such characters.
    beyond_ascii: Place,
    /// Routes without a usable path condition.
    rest: Place,
    /// The lists of all places, one after the other.
    lists: Box<[u32]>,
    groups: Box<[Group]>,
}

/// A part of [`Index::lists`], ascending.
#[derive(Debug, Clone, Copy, Default)]
struct List {
    start: u32,
    end: u32,
}

#[derive(Debug, Clone, Copy)]
struct Place {
    list: List,
    /// Position in [`Index::groups`] where there are many.
    group: Option<u32>,
}

/// What tells the routes of a crowded place apart.
#[derive(Debug)]
struct Group {
    methods: Literals<List>,
    authorities: Literals<List>,
    headers: Literals<Named>,
    query_parameters: Literals<Named>,
    /// Regexes by the text that the path has to end with, backwards.
    endings: Literals<List>,
    /// Regexes by a text that the path has to have somewhere, and its number.
    insides: Literals<(usize, List)>,
    sets: Box<[RegexSet]>,
}

/// A header or query parameter that routes demand.
#[derive(Debug)]
struct Named {
    /// Its position in the group, by which a second one of the name is known.
    id: usize,
    values: Literals<List>,
    any: List,
}

/// Finds out which of many regexes match a path.
#[derive(Debug)]
struct RegexSet {
    routes: Box<[u32]>,
    automaton: DFA,
    /// Made on first use; who finds it taken makes one for itself.
    cache: Mutex<Option<Box<SetCache>>>,
}

#[derive(Debug)]
struct SetCache {
    states: dfa::Cache,
    matched: PatternSet,
}

/// A list on its way through the merge. Ordered by what it has next.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Cursor {
    next: u32,
    source: Source,
    position: u32,
    end: u32,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Source {
    /// A part of [`Index::lists`].
    Lists,
    /// A part of [`Scratch::hits`]: regexes that are known to match the path.
    Hits,
    /// A set that hasn't been run: group and position in it.
    Set,
}

/// What a search notes. Kept from one to the next, so that none of them allocates.
#[derive(Debug, Default)]
struct Scratch {
    cursors: BinaryHeap<Reverse<Cursor>>,
    hits: Vec<u32>,
    seen: Vec<bool>,
    backwards: Vec<u8>,
}

thread_local! {
    static SCRATCH: Cell<Option<Box<Scratch>>> = const { Cell::new(None) };
}

impl Index {
    /// The places of `routes`, which are given in order.
    #[inline(never)]
    pub(super) fn new<'a>(routes: impl Iterator<Item = &'a mut RouteMatcher>) -> Self {
        let mut parsed = Vec::new();
        let routes: Vec<&RouteMatcher> = routes
            .map(|route| {
                parsed.push(route.take_parsed());
                &*route
            })
            .collect();
        let mut builder = Builder { routes, parsed, lists: Vec::new(), groups: Vec::new() };
        let mut tables: [HashMap<Vec<u8>, Vec<u32>>; 4] = Default::default();
        let [exact, exact_folded, prefix, prefix_folded] = &mut tables;
        let (mut beyond_ascii, mut rest) = (Vec::new(), Vec::new());
        for (id, (route, parsed)) in (0..).zip(builder.routes.iter().zip(&builder.parsed)) {
            let (text, fold_case, whole) = match (route.path(), parsed) {
                (Some(StringMatcher::Exact(text)), _) => {
                    (Cow::Borrowed(text.as_bytes()), route.ignores_path_case(), true)
                }
                (Some(StringMatcher::Prefix(text)), _) => {
                    (Cow::Borrowed(text.as_bytes()), route.ignores_path_case(), false)
                }
                (Some(StringMatcher::Regex(_)), Some(parsed)) => {
                    let literal = parsed.literal();
                    if literal.beyond_ascii {
                        beyond_ascii.push(id);
                    }
                    (Cow::Owned(literal.text), literal.fold_case, literal.whole)
                }
                (None | Some(StringMatcher::Present | StringMatcher::Regex(_)), _) => {
                    (Cow::default(), false, false)
                }
            };
            let text = if fold_case { text.to_ascii_lowercase() } else { text.into_owned() };
            let place = match (whole, fold_case) {
                (false, _) if text.is_empty() => &mut rest,
                (true, false) => exact.entry(text).or_default(),
                (true, true) => exact_folded.entry(text).or_default(),
                (false, false) => prefix.entry(text).or_default(),
                (false, true) => prefix_folded.entry(text).or_default(),
            };
            place.push(id);
        }
        let [exact, exact_folded, prefix, prefix_folded] = tables.map(|table| {
            table.into_iter().map(|(text, routes)| (text, builder.place(routes))).collect::<HashMap<_, _>>()
        });
        Self {
            exact: Literals::new(exact, false),
            exact_folded: Literals::new(exact_folded, true),
            prefix: Literals::new(prefix, false),
            prefix_folded: Literals::new(prefix_folded, true),
            beyond_ascii: Place { list: builder.list(&beyond_ascii), group: None },
            rest: builder.place(rest),
            lists: builder.lists.into(),
            groups: builder.groups.into(),
        }
    }

    /// The first route in order for which `matches` says yes; it is asked in order, and told
    /// whether the path condition is known to hold.
    pub(super) fn first(
        &self,
        request: &Request<'_>,
        mut matches: impl FnMut(usize, bool) -> bool,
    ) -> Option<usize> {
        // Taken, not borrowed: a trace might ask for a decision itself.
        let mut scratch = SCRATCH.take().unwrap_or_default();
        scratch.cursors.clear();
        scratch.hits.clear();
        let path = request.path_only();
        self.gather(path, request, &mut scratch);
        let mut found = None;
        let mut last = None;
        while let Some(Reverse(cursor)) = scratch.cursors.pop() {
            if cursor.source == Source::Set {
                self.run_set(cursor, path, &mut scratch);
                continue;
            }
            let source: &[u32] = if cursor.source == Source::Hits { &scratch.hits } else { &self.lists };
            let after = cursor.position + 1;
            let next = if after < cursor.end { source.get(after as usize).copied() } else { None };
            if let Some(next) = next {
                scratch.cursors.push(Reverse(Cursor { next, position: after, ..cursor }));
            }
            if last.replace(cursor.next) == Some(cursor.next) {
                continue;
            }
            let route = cursor.next as usize;
            if matches(route, cursor.source == Source::Hits) {
                found = Some(route);
                break;
            }
        }
        SCRATCH.set(Some(scratch));
        found
    }

    /// Notes the lists of all places of the request.
    fn gather(&self, path: &[u8], request: &Request<'_>, scratch: &mut Scratch) {
        self.gather_place(&self.rest, path, request, scratch);
        for table in [&self.exact, &self.exact_folded] {
            if let Some(place) = table.find(path) {
                self.gather_place(place, path, request, scratch);
            }
        }
        for table in [&self.prefix, &self.prefix_folded] {
            for place in table.starts_of(path) {
                self.gather_place(place, path, request, scratch);
            }
        }
        if self.beyond_ascii.list.start < self.beyond_ascii.list.end && !path.is_ascii() {
            self.gather_place(&self.beyond_ascii, path, request, scratch);
        }
    }

    fn gather_place(&self, place: &Place, path: &[u8], request: &Request<'_>, scratch: &mut Scratch) {
        self.gather_list(place.list, scratch);
        let Some(id) = place.group else { return };
        let Some(group) = self.groups.get(id as usize) else { return };
        for (values, value) in [(&group.methods, request.method), (&group.authorities, request.authority)] {
            if let Some(list) = values.find(value) {
                self.gather_list(*list, scratch);
            }
        }
        if !group.headers.is_empty() {
            scratch.seen.clear();
            for (name, _) in request.headers {
                let Some(named) = group.headers.find(name) else { continue };
                if scratch.is_new(named.id)
                    && let Some(value) = matcher::header(request, name)
                {
                    self.gather_named(named, &value, scratch);
                }
            }
        }
        if !group.query_parameters.is_empty() {
            scratch.seen.clear();
            for (name, value) in matcher::query_parameters(request) {
                if let Some(named) = group.query_parameters.find(name)
                    && scratch.is_new(named.id)
                {
                    self.gather_named(named, value, scratch);
                }
            }
        }
        if !group.endings.is_empty() {
            let mut backwards = std::mem::take(&mut scratch.backwards);
            backwards.clear();
            backwards.extend(path.iter().rev());
            for list in group.endings.starts_of(&backwards) {
                self.gather_list(*list, scratch);
            }
            scratch.backwards = backwards;
        }
        if !group.insides.is_empty() {
            scratch.seen.clear();
            for start in 0..path.len() {
                for (number, list) in group.insides.starts_of(path.get(start..).unwrap_or_default()) {
                    if scratch.is_new(*number) {
                        self.gather_list(*list, scratch);
                    }
                }
            }
        }
        for (position, set) in (0..).zip(&group.sets) {
            if let Some(&next) = set.routes.first() {
                scratch.cursors.push(Reverse(Cursor {
                    next,
                    source: Source::Set,
                    position: id,
                    end: position,
                }));
            }
        }
    }

    fn gather_named(&self, named: &Named, value: &[u8], scratch: &mut Scratch) {
        self.gather_list(named.any, scratch);
        if let Some(list) = named.values.find(value) {
            self.gather_list(*list, scratch);
        }
    }

    fn gather_list(&self, List { start, end }: List, scratch: &mut Scratch) {
        if start < end
            && let Some(&next) = self.lists.get(start as usize)
        {
            scratch.cursors.push(Reverse(Cursor { next, source: Source::Lists, position: start, end }));
        }
    }

    /// Replaces a set by those of its routes whose regex matches.
    fn run_set(&self, cursor: Cursor, path: &[u8], scratch: &mut Scratch) {
        let group = self.groups.get(cursor.position as usize);
        let Some(set) = group.and_then(|group| group.sets.get(cursor.end as usize)) else { return };
        let start = scratch.hits.len();
        set.run(path, &mut scratch.hits);
        if let (Some(&next), Ok(position), Ok(end)) =
            (scratch.hits.get(start), u32::try_from(start), u32::try_from(scratch.hits.len()))
        {
            scratch.cursors.push(Reverse(Cursor { next, source: Source::Hits, position, end }));
        }
    }
}

impl Scratch {
    /// Notes that a name was seen. Whether it is the first time.
    fn is_new(&mut self, id: usize) -> bool {
        if self.seen.len() <= id {
            self.seen.resize(id + 1, false);
        }
        self.seen.get_mut(id).is_some_and(|seen| !std::mem::replace(seen, true))
    }
}

impl RegexSet {
    fn new(routes: Vec<u32>, patterns: &[&Parsed]) -> Option<Self> {
        let patterns: Vec<_> = patterns.iter().map(|pattern| pattern.to_whole_hir()).collect();
        let config = DFA::config()
            .match_kind(MatchKind::All)
            .cache_capacity(SET_CACHE + SET_CACHE_EACH * patterns.len())
            .skip_cache_capacity_check(true);
        let automaton = DFA::builder().configure(config).build_from_nfa(pattern::compile(&patterns)?).ok()?;
        Some(Self { routes: routes.into(), automaton, cache: Mutex::new(None) })
    }

    /// Adds the routes whose regex matches `path`, ascending.
    fn run(&self, path: &[u8], hits: &mut Vec<u32>) {
        let mut kept = self.cache.try_lock().ok();
        let mut cache = kept.as_mut().and_then(|kept| kept.take()).unwrap_or_else(|| {
            Box::new(SetCache {
                states: self.automaton.create_cache(),
                matched: PatternSet::new(self.automaton.pattern_len()),
            })
        });
        let SetCache { states, matched } = &mut *cache;
        matched.clear();
        let input = Input::new(path).anchored(Anchored::Yes);
        let outcome = self.automaton.try_which_overlapping_matches(states, &input, matched);
        debug_assert!(outcome.is_ok(), "neither quitting nor giving up is configured");
        hits.extend(matched.iter().filter_map(|pattern| self.routes.get(pattern.as_usize()).copied()));
        if let Some(kept) = &mut kept {
            **kept = Some(cache);
        }
    }
}

/// Routes by a text that their path must have.
type ByText = HashMap<Vec<u8>, Vec<u32>>;

struct Builder<'a> {
    routes: Vec<&'a RouteMatcher>,
    parsed: Vec<Option<Parsed>>,
    lists: Vec<u32>,
    groups: Vec<Group>,
}

/// By what a route of a crowded place is told from the others.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Key<'a> {
    Method(&'a str),
    Authority(&'a str),
    /// A header and its value; without one, only that it is there.
    Header(&'a str, Option<&'a str>),
    QueryParameter(&'a str, Option<&'a str>),
}

impl<'a> Builder<'a> {
    fn list(&mut self, routes: &[u32]) -> List {
        let position = |length: usize| u32::try_from(length).unwrap_or(u32::MAX);
        let start = position(self.lists.len());
        self.lists.extend_from_slice(routes);
        List { start, end: position(self.lists.len()) }
    }

    fn parsed(&self, id: u32) -> Option<&Parsed> {
        self.parsed.get(id as usize)?.as_ref()
    }

    fn route(&self, id: u32) -> Option<&'a RouteMatcher> {
        self.routes.get(id as usize).copied()
    }

    /// A place for `routes`, all of which the same paths lead to.
    #[inline(never)]
    fn place(&mut self, mut routes: Vec<u32>) -> Place {
        // What comes after a route without further conditions is never chosen.
        if let Some(last) =
            routes.iter().position(|&id| self.route(id).is_some_and(RouteMatcher::is_only_literal_path))
        {
            routes.truncate(last + 1);
        }
        if routes.len() <= MANY {
            return Place { list: self.list(&routes), group: None };
        }
        let mut counts: HashMap<Key<'a>, usize> = HashMap::new();
        for key in routes.iter().filter_map(|&id| self.route(id)).flat_map(keys) {
            *counts.entry(key).or_default() += 1;
        }
        let mut plain = Vec::new();
        let mut regexes = Vec::new();
        let mut by_key: HashMap<Key<'a>, Vec<u32>> = HashMap::new();
        for &id in &routes {
            let Some(route) = self.route(id) else { continue };
            let count = |key: &Key<'_>| counts.get(key).copied().unwrap_or_default();
            let is_regex = matches!(route.path(), Some(StringMatcher::Regex(_)));
            // Many regexes are better told apart by the path than asked for one method.
            let most = if is_regex { MANY } else { routes.len() / 2 };
            match keys(route).min_by_key(count).filter(|key| count(key) <= most) {
                Some(key) => by_key.entry(key).or_default().push(id),
                None if is_regex => regexes.push(id),
                None => plain.push(id),
            }
        }
        let mut sets = Vec::new();
        // Too few to be worth it.
        if regexes.len() < MANY_REGEXES {
            plain.append(&mut regexes);
        }
        let by_ending = self.by_text(&mut regexes, Parsed::ending);
        let by_inside = self.by_text(&mut regexes, |parsed| {
            let text = parsed.inside();
            let end = text.get(text.len().saturating_sub(*INSIDE.end())..).unwrap_or_default();
            if INSIDE.contains(&end.len()) { end.to_vec() } else { Vec::new() }
        });
        if regexes.len() < MANY_REGEXES {
            plain.append(&mut regexes);
        }
        for chunk in regexes.chunks(SET_SIZE) {
            let patterns: Vec<&Parsed> = chunk.iter().filter_map(|&id| self.parsed(id)).collect();
            match RegexSet::new(chunk.to_vec(), &patterns) {
                Some(set) if patterns.len() == chunk.len() => sets.push(set),
                _ => plain.extend_from_slice(chunk),
            }
        }
        plain.sort_unstable();
        let group = self.group(by_key, by_ending, by_inside, sets);
        self.groups.push(group);
        Place { list: self.list(&plain), group: u32::try_from(self.groups.len() - 1).ok() }
    }

    /// Takes those out of `regexes` that a text tells from most others.
    fn by_text(&self, regexes: &mut Vec<u32>, text: impl Fn(&Parsed) -> Vec<u8>) -> ByText {
        let mut by_text = ByText::new();
        for id in regexes.drain(..) {
            by_text.entry(self.parsed(id).map(&text).unwrap_or_default()).or_default().push(id);
        }
        by_text.retain(|text, routes| {
            let tells = !text.is_empty() && routes.len() <= MANY;
            if !tells {
                regexes.append(routes);
            }
            tells
        });
        regexes.sort_unstable();
        by_text
    }

    #[inline(never)]
    fn group(
        &mut self,
        by_key: HashMap<Key<'_>, Vec<u32>>,
        by_ending: ByText,
        by_inside: ByText,
        sets: Vec<RegexSet>,
    ) -> Group {
        type Names = HashMap<Vec<u8>, (HashMap<Vec<u8>, List>, List)>;
        let (mut methods, mut authorities) = (HashMap::new(), HashMap::new());
        let (mut headers, mut query_parameters) = (Names::new(), Names::new());
        for (key, routes) in by_key {
            let list = self.list(&routes);
            let (names, name, value) = match key {
                Key::Method(value) => {
                    methods.insert(value.into(), list);
                    continue;
                }
                Key::Authority(value) => {
                    authorities.insert(value.into(), list);
                    continue;
                }
                Key::Header(name, value) => (&mut headers, name, value),
                Key::QueryParameter(name, value) => (&mut query_parameters, name, value),
            };
            let (values, any) = names.entry(name.into()).or_default();
            match value {
                Some(value) => drop(values.insert(value.into(), list)),
                None => *any = list,
            }
        }
        let endings = by_ending.into_iter().map(|(ending, routes)| (ending, self.list(&routes))).collect();
        let insides = by_inside.into_iter().enumerate();
        let insides = insides.map(|(number, (text, routes))| (text, (number, self.list(&routes)))).collect();
        let named = |names: Names, fold_case: bool| {
            let names = names.into_iter().enumerate().map(|(id, (name, (values, any)))| {
                (name, Named { id, values: Literals::new(values, false), any })
            });
            Literals::new(names.collect(), fold_case)
        };
        Group {
            methods: Literals::new(methods, false),
            authorities: Literals::new(authorities, false),
            headers: named(headers, true),
            query_parameters: named(query_parameters, false),
            endings: Literals::new(endings, false),
            insides: Literals::new(insides, false),
            sets: sets.into(),
        }
    }
}

/// What a request must have for `route` to match.
fn keys(route: &RouteMatcher) -> impl Iterator<Item = Key<'_>> {
    let method = route.method().and_then(StringMatcher::as_exact).map(Key::Method);
    let authority = route.authority().and_then(StringMatcher::as_exact).map(Key::Authority);
    let headers = route.demanded_headers().map(|(name, value)| Key::Header(name, value.as_exact()));
    let parameters =
        route.demanded_query_parameters().map(|(name, value)| Key::QueryParameter(name, value.as_exact()));
    method.into_iter().chain(authority).chain(headers).chain(parameters)
}
