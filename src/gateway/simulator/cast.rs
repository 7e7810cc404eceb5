//! Who plays in the demo and what they say: customers of a small clothes shop in Bogotá.
//!
//! All of it is invented; the numbers lie in a block that no Colombian carrier uses.

/// A customer's name and number.
pub(super) const CUSTOMERS: &[(&str, &str)] = &[
    ("Ana María Gómez", "573995550101"),
    ("Luis Fernando Rojas", "573995550102"),
    ("Camila Restrepo", "573995550103"),
    ("Andrés Felipe Cárdenas", "573995550104"),
    ("Valentina Ospina", "573995550105"),
    ("Jorge Iván Salazar", "573995550106"),
    ("María José Peña", "573995550107"),
    ("Santiago Muñoz", "573995550108"),
    ("Paula Andrea Vélez", "573995550109"),
    ("Óscar Yesid Niño", "573995550110"),
    ("Daniela Quintero", "573995550111"),
    ("Juan Sebastián Ariza", "573995550112"),
    ("Luz Marina Bedoya", "573995550113"),
    ("Mateo Castaño", "573995550114"),
    ("Natalia Güiza", "573995550115"),
    ("Carlos Arturo Lozano", "573995550116"),
    ("Isabella Montoya 🌻", "573995550117"),
    ("Diego Alejandro Ruiz", "573995550118"),
    ("Sofía Echeverri", "573995550119"),
    ("Ferretería El Tornillo", "573995550120"),
];

/// One turn of a conversation.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Turn {
    /// The customer writes.
    Says(&'static str),
    /// The customer answers the company's last message.
    Replies(&'static str),
    /// The customer sends a picture.
    Photo(&'static str),
    Voice,
    Document(&'static str),
    /// Name, address, latitude, longitude.
    Place(&'static str, &'static str, f64, f64),
    /// The customer reacts to the company's last message.
    Reacts(&'static str),
    /// The customer edits what they wrote last.
    Rewrites(&'static str),
    /// The customer takes back what they wrote last.
    TakesBack,
    /// The company writes.
    Answers(&'static str),
    /// The company edits what it wrote last.
    Corrects(&'static str),
}

use Turn::{
    Answers, Corrects, Document, Photo, Place, Reacts, Replies, Rewrites, Says, TakesBack, Voice,
};

/// What conversations are about, turn by turn.
pub(super) const TOPICS: &[&[Turn]] = &[
    &[
        Says("Buenas tardes 👋"),
        Says("¿Tienen la camisa de lino azul en talla M?"),
        Answers("¡Hola! Sí, nos quedan tres. ¿Se la aparto?"),
        Replies("Sí por favor, paso mañana por ella"),
        Answers("Listo, queda apartada hasta mañana a las 6 p. m."),
        Reacts("👍"),
    ],
    &[
        Says("Hola, hice un pedido el lunes y no me ha llegado"),
        Answers("Qué pena con usted. ¿Me regala el número de pedido?"),
        Says("El 40218"),
        Answers("Salió hoy con la transportadora, le llega entre hoy y mañana."),
        Corrects("Salió hoy con la transportadora, le llega mañana antes del mediodía."),
        Says("Perfecto, quedo pendiente"),
        Place("Mi casa", "Carrera 7 # 45-10, Bogotá", 4.6310, -74.0648),
        Answers("Gracias, con esa ubicación el mensajero llega más fácil 🛵"),
        Reacts("🙏"),
    ],
    &[
        Photo("Así me llegó la costura"),
        Says("¿Me la pueden cambiar?"),
        Answers("Claro que sí, la cambiamos sin costo. ¿Prefiere tienda o domicilio?"),
        Replies("Domicilio porfa"),
        Answers("Mañana pasamos entre las 9 y las 12."),
        Says("Mil gracias 😊"),
    ],
    &[
        Says("Buenos días, ¿manejan precios al por mayor?"),
        Answers("¡Buenos días! Sí, desde 12 unidades. ¿Qué prendas le interesan?"),
        Document("Lista de prendas.pdf"),
        Answers("Recibido. Esta tarde le enviamos la cotización."),
        Says("¿A que horas mas o menos?"),
        Rewrites("¿A qué hora, más o menos?"),
        Answers("Antes de las cuatro."),
        Reacts("👌"),
    ],
    &[
        Voice,
        Answers("Escuchado 😄 Sí hay en rojo y en verde oliva."),
        Says("Me llevo la verde"),
        Answers("Son $ 89.900. ¿Paga con tarjeta o contra entrega?"),
        Says("Contra entrega"),
        Place("Oficina", "Calle 93A # 13-24, Bogotá", 4.6766, -74.0484),
        Answers("Agendado para hoy. ¡Gracias por su compra!"),
        Reacts("❤️"),
    ],
    &[
        Says("A cómo están las bufandas??"),
        TakesBack,
        Says("Buenas, ¿a cómo están las bufandas?"),
        Answers("Desde $ 35.000, y hoy llevan 20 % de descuento."),
        Photo("¿Esta también?"),
        Answers("Esa también, queda en $ 41.600."),
        Says("Listo, aparto dos"),
    ],
    &[
        Says("¿Hasta qué hora atienden hoy?"),
        Answers("Hasta las 7 p. m. en la tienda, y por aquí hasta las 9."),
        Says("Súper, gracias"),
        Reacts("😃"),
    ],
    &[
        Says("Hola, les transferí hace un rato"),
        Photo("Comprobante"),
        Answers("Confirmado el pago ✅ Su pedido sale hoy."),
        Says("¿Me mandan la guía?"),
        Answers("Guía 7002341189, la puede seguir en la página de la transportadora."),
        Replies("Listo, ya la vi"),
    ],
];

/// Why the bot is switched, when it is.
pub(super) const BOT_PAUSES: &[&str] = &[
    "Una asesora tomó la conversación",
    "Mantenimiento de respuestas automáticas",
    "Promoción del día: se responde a mano",
];
