//! How commands and their arguments are declared: one list makes all that must know of each.

/// Declares the commands: one list makes the enum, the kind numbers, and the codec of arguments.
macro_rules! commands {
    ($($(#[doc = $doc:literal])+ $(#[cfg($cfg:meta)])? $name:ident = $kind:literal),+ $(,)?) => {
        /// What can be asked.
        #[derive(Clone, Debug, PartialEq, Eq)]
        pub enum Command {
            $($(#[doc = $doc])+ $(#[cfg($cfg)])? $name($name),)+
        }

        impl Command {
            /// The kind number, as in the envelope and in the audit entry. Never reused.
            pub const fn kind(&self) -> u16 {
                match self { $($(#[cfg($cfg)])? Self::$name(_) => $kind,)+ }
            }

            /// The name of the kind.
            pub const fn name(&self) -> &'static str {
                match self { $($(#[cfg($cfg)])? Self::$name(_) => stringify!($name),)+ }
            }

            /// The name of a kind number.
            pub const fn kind_name(kind: u16) -> Option<&'static str> {
                match kind {
                    $($(#[cfg($cfg)])? $kind => Some(stringify!($name)),)+
                    _ => None,
                }
            }

            /// The canonical bytes of the arguments.
            pub fn arguments(&self) -> Vec<u8> {
                match self {
                    $($(#[cfg($cfg)])?
                    Self::$name(arguments) => crate::canonical::encode(arguments),)+
                }
            }

            /// Decodes arguments of a kind from their canonical bytes.
            ///
            /// # Errors
            /// An unknown kind, or bytes that are not the canonical form of its arguments.
            pub fn from_arguments(kind: u16, bytes: &[u8]) -> Result<Self, ArgumentsError> {
                match kind {
                    $($(#[cfg($cfg)])? $kind => Ok(Self::$name(crate::canonical::decode(bytes)?)),)+
                    _ => Err(ArgumentsError::UnknownKind(kind)),
                }
            }
        }

        $($(#[cfg($cfg)])? impl $name {
            /// The kind number of these arguments.
            pub const KIND: u16 = $kind;
        })+

        $($(#[cfg($cfg)])? impl From<$name> for Command {
            fn from(arguments: $name) -> Self {
                Self::$name(arguments)
            }
        })+
    };
}

/// Declares a struct of arguments with canonical encoding.
macro_rules! arguments {
    ($(#[$meta:meta])* $name:ident { $($(#[$field_meta:meta])* $field:ident: $type:ty),* $(,)? }) => {
        $(#[$meta])*
        #[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
        #[cbor(map)]
        pub struct $name { $($(#[$field_meta])* pub $field: $type,)* }
    };
}
