//! One row of a table of settings. Rows are written as constants, so that a table reads like a table.

use super::value::{self, Value};

/// What a key is, what it may hold and what for.
#[derive(Clone, Copy, Debug)]
pub struct Setting {
    /// The key.
    pub name: &'static str,
    /// The type of its values.
    pub kind: Kind,
    /// The value, as text, where nobody set one.
    pub default: Option<&'static str>,
    /// What a value must fulfil beside its type.
    pub check: Check,
    /// Whether a running broker takes over a new value.
    pub dynamic: Dynamic,
    /// Not described unless set: for tests and for the curious.
    pub internal: bool,
    /// What it does, with its unit.
    pub doc: &'static str,
}

/// The type of a value; the numbers are those of DescribeConfigs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(i8)]
pub enum Kind {
    /// The key is in no table.
    Unknown = 0,
    /// `true` or `false`.
    Boolean = 1,
    /// Any text.
    String = 2,
    /// 32 bits.
    Int = 3,
    /// 16 bits.
    Short = 4,
    /// 64 bits.
    Long = 5,
    /// A floating point number.
    Double = 6,
    /// Texts, separated by commas.
    List = 7,
    /// The name of a class.
    Class = 8,
    /// Text that is never shown.
    Password = 9,
}

/// What a value must fulfil beside its type.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Check {
    /// Nothing.
    Any,
    /// This number or more.
    AtLeast(i64),
    /// From the first to the second, both included.
    Between(i64, i64),
    /// From the first to the second, both included, or the third.
    BetweenOr(i64, i64, i64),
    /// A floating point number from the first to the second, both included.
    Fraction(f64, f64),
    /// One of these texts.
    OneOf(&'static [&'static str]),
    /// One of these texts, in upper or lower case.
    OneOfAnyCase(&'static [&'static str]),
    /// At least one character.
    NonEmpty,
    /// A list without empty items. Items given twice count once.
    Items,
    /// As `Items`, and at least one.
    SomeItems,
    /// As `Items`, all of them among these texts.
    ItemsOf(&'static [&'static str]),
    /// As `ItemsOf`, and at least one.
    SomeItemsOf(&'static [&'static str]),
    /// `*`, or a list of `partition:broker`.
    ThrottledReplicas,
}

/// Whether a running broker takes over a new value, and who may have one of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dynamic {
    /// Only read at the start.
    ReadOnly,
    /// Settable for one broker, not for the cluster.
    PerBroker,
    /// Settable for one broker, or for all together.
    ClusterWide,
}

impl Kind {
    /// The number that DescribeConfigs sends.
    pub fn id(self) -> i8 {
        self as i8
    }
}

impl Setting {
    /// A row; its documentation follows by [`Setting::doc`].
    pub const fn new(
        kind: Kind,
        name: &'static str,
        default: Option<&'static str>,
        check: Check,
        dynamic: Dynamic,
    ) -> Self {
        Self { name, kind, default, check, dynamic, internal: false, doc: "" }
    }

    /// The row with its documentation.
    #[must_use]
    pub const fn doc(self, doc: &'static str) -> Self {
        Self { doc, ..self }
    }

    /// The row, not described unless set.
    #[must_use]
    pub const fn internal(self) -> Self {
        Self { internal: true, ..self }
    }

    /// Whether the value must not be shown.
    pub fn is_sensitive(&self) -> bool {
        self.kind == Kind::Password
    }

    /// Reads and checks a value.
    ///
    /// # Errors
    /// A sentence that names the key and the value, in Kafka's words.
    pub fn parse(&self, text: &str) -> Result<Value, String> {
        value::parse(self, text).map_err(|wrong| wrong.sentence(self.name))
    }

    /// As [`Setting::parse`], but the error says only what is wrong, for messages that name key and value themselves.
    ///
    /// # Errors
    /// The end of the sentence.
    pub fn parse_briefly(&self, text: &str) -> Result<Value, String> {
        value::parse(self, text).map_err(|wrong| wrong.reason)
    }

    /// Asserts that the row makes sense: for the tests of a table.
    ///
    /// # Panics
    /// When the default fails the row's own check or is not written as it is shown, when the check does not fit the
    /// type, or when there is no documentation.
    pub fn assert_sound(&self) {
        let Self { name, kind, check, .. } = self;
        assert!(check.fits(*kind), "{name}: {check:?} does not fit {kind:?}");
        assert!(self.doc.ends_with('.'), "{name} has no documentation");
        if let Some(default) = self.default {
            let shown = self.parse(default).map(|value| value.to_string());
            assert_eq!(shown.as_deref(), Ok(default), "the default of {name}");
        }
    }
}

impl Check {
    /// Whether a value of `kind` can fulfil it.
    fn fits(self, kind: Kind) -> bool {
        match self {
            Self::Any => true,
            Self::AtLeast(_) | Self::Between(..) | Self::BetweenOr(..) => {
                matches!(kind, Kind::Int | Kind::Short | Kind::Long)
            }
            Self::Fraction(..) => kind == Kind::Double,
            Self::OneOf(_) | Self::OneOfAnyCase(_) | Self::NonEmpty => kind == Kind::String,
            Self::Items | Self::SomeItems | Self::ItemsOf(_) | Self::SomeItemsOf(_) | Self::ThrottledReplicas => {
                kind == Kind::List
            }
        }
    }
}
